"""Images with masks that tests write."""

import json
from pathlib import Path

import numpy as np
from PIL import Image

from concord.data.segmentation.raster import voc_palette


def save(path: Path, pixels, mode: str | None = None, palette=None) -> Path:
    """An array as an image file; with a palette its values are indices."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(np.asarray(pixels, np.uint8))
    if palette is not None:
        image = Image.fromarray(np.asarray(pixels, np.uint8), mode="L")
        image.putpalette(np.asarray(palette, np.uint8).tobytes())
    (image if mode is None else image.convert(mode)).save(path)
    return path


def colours(codes) -> np.ndarray:
    """(N,) colour codes as (N, 3)."""
    return np.stack([codes // 65536, codes // 256 % 256, codes % 256], 1)


VOC = colours(voc_palette())


def picture(seed: int, size=(12, 16), channels: int = 1) -> np.ndarray:
    shape = size if channels == 1 else (*size, channels)
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def truth(seed: int, size=(12, 16), values=(0, 1)) -> np.ndarray:
    """A mask in which every value stands, in pieces."""
    coarse = np.random.default_rng(seed).integers(0, len(values), (-(-size[0] // 4), -(-size[1] // 4)))
    coarse.flat[: len(values)] = range(len(values))
    return np.asarray(values)[np.kron(coarse, np.ones((4, 4), int))[: size[0], : size[1]]]


def folder(root: Path, names, values=(0, 1), size=(12, 16)) -> Path:
    """images/NAME.png and masks/NAME.png for each name."""
    for seed, name in enumerate(names):
        save(root / "images" / f"{name}.png", picture(seed, size))
        save(root / "masks" / f"{name}.png", truth(seed, size, values))
    return root


def stack(path: Path, frames) -> Path:
    first, *rest = [Image.fromarray(np.asarray(frame, np.uint8)) for frame in frames]
    path.parent.mkdir(parents=True, exist_ok=True)
    first.save(path, save_all=True, append_images=rest)
    return path


def coco(path: Path, annotations, *, size=(12, 16), images=("a.png",), categories=None) -> Path:
    """A COCO file with images of that size, and these files beside it."""
    for seed, name in enumerate(images):
        save(path.parent / "images" / name, picture(seed, size))
    listed = [
        {"id": i, "file_name": name, "height": size[0], "width": size[1]} for i, name in enumerate(images, 1)
    ]
    categories = categories or [{"id": 7, "name": "cat"}, {"id": 3, "name": "dog"}]
    path.write_text(json.dumps({"images": listed, "annotations": annotations, "categories": categories}))
    return path

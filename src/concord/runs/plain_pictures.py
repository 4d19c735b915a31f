"""The door at which pictures become lists of numbers for the room ``plain``."""

import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from concord.data.images.decode import header, open_image, quiet
from concord.data.images.files import below, is_image_name
from concord.data.images.folder import SPLITS, class_folders
from concord.errors import DataError
from concord.files.text import printable
from concord.plain.maps import Map

NUMBERED = re.compile(r"(.+?)[ _-]*\d*")


@dataclass(frozen=True)
class Pictures:
    """Pictures of one size with their classes, and what was done to them on the way."""

    files: tuple[Path, ...]
    images: tuple[Map, ...]
    labels: tuple[int, ...]
    classes: tuple[str, ...]
    notices: tuple[str, ...]


def read(folder: Path, shape: tuple[int, int, int]) -> Pictures:
    """All pictures of a folder at height, width and channels ``shape``, scaled to [0, 1] and centred.

    The class of a picture is the folder that it is in; pictures that lie loose are told apart by their names
    without the number, so cat_0.png is a cat.

    Raises DataError: no folder, no picture, one class only, a file that is no picture.
    """
    named, notices = _named(folder)
    classes = tuple(sorted(set(named.values())))
    if len(classes) < 2:
        found = f"only '{printable(classes[0])}'" if classes else "no picture"
        raise DataError(
            f"{printable(folder)}: expected pictures of 2 or more classes, one folder for each class or files"
            f" called cat_0.png, dog_0.png ...; there is {found}"
        )
    height, width, channels = shape
    notices += _conversions(list(named), shape)
    pixels = [open_image(p, mode="L" if channels == 1 else "RGB", size=(height, width)) for p in named]
    return Pictures(
        tuple(named),
        tuple(_scaled(image) for image in pixels),
        tuple(classes.index(name) for name in named.values()),
        classes,
        tuple(notices),
    )


def _named(folder: Path) -> tuple[dict[Path, str], list[str]]:
    """Every picture and the name of its class, sorted by path; and what was left out."""
    if not folder.is_dir():
        raise DataError(f"{printable(folder)}: expected a folder of pictures, the folder does not exist")
    places = class_folders(folder)
    inside = {path: place.name for place in places for path in below(place, above={folder})}
    loose = {path: _class_of(path) for path in sorted(folder.iterdir()) if path.is_file()}
    named = _pictures(inside) or _pictures(loose)
    if set(named.values()) and {name.lower() for name in named.values()} <= SPLITS.keys():
        part = next(iter(named.values()))
        raise DataError(
            f"{printable(folder)}: its folders are parts of a data set, not classes; give one of them,"
            f" for example {printable(folder / part)}"
        )
    ignored = sorted(str(path.relative_to(folder)) for path in {**inside, **loose} if path not in named)
    notices = (
        [f"ignored, no pictures of a class: {', '.join(map(printable, ignored[:5]))}"] if ignored else []
    )
    return named, notices


def _pictures(files: dict[Path, str]) -> dict[Path, str]:
    return {path: name for path, name in files.items() if is_image_name(path)}


def _class_of(path: Path) -> str:
    match = NUMBERED.fullmatch(path.stem)
    return match[1] if match else path.stem


def _conversions(files: list[Path], shape: tuple[int, int, int]) -> list[str]:
    height, width, channels = shape
    with quiet():
        found = {path: header(path) for path in files}
    other = Counter(f"{h.width}x{h.height}" for h in found.values() if (h.height, h.width) != (height, width))
    grey = sum(h.grey for h in found.values())
    notices = []
    if other:
        sizes = ", ".join(f"{n} of {size}" for size, n in other.most_common(3))
        notices.append(f"resized to {width}x{height}, the middle of longer sides kept: {sizes}")
    if transparent := sum(h.transparent for h in found.values()):
        notices.append(f"{transparent} transparent pictures laid on white")
    if channels == 3 and grey:
        notices.append(f"{grey} grey pictures: the same number three times")
    if channels == 1 and grey < len(files):
        notices.append(f"{len(files) - grey} coloured pictures made grey")
    return notices


def _scaled(pixels: Tensor) -> Map:
    """v / 255 - 1/2. Shape: (C, H, W) uint8 -> (H, W, C)"""
    return [[value / 255 - 0.5 for value in row] for row in pixels.permute(1, 2, 0).flatten(1).tolist()]

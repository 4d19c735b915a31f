"""Write pictures as class folders: some classes of a data set, or the objects that boxes mark, cut out.

    python tools/class_folders.py classes cifar10 --names cat,frog --train 1000 --test 250 --to photos
    python tools/class_folders.py boxes BCCD --size 40 --to cells

The folders are ``TO/train/CLASS/*.png`` and ``TO/test/CLASS/*.png``, in the parts of the source; ``--train``
and ``--test`` are pictures of each class, in the stored order. A cut is the square around the middle of a box
with the longer side of the box, moved into the picture, scaled to ``--size`` pixels. Boxes without an area
are left out.
"""

import argparse
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from PIL import Image, ImageOps
from torch import Tensor
from torchvision.transforms.v2 import functional as F

import concord
from concord.data.detection.boxed import BoxedImages
from concord.data.images.images import Images

One = tuple[str, Image.Image]  # class, picture


def some(images: Images, names: Sequence[str], most: int) -> Iterator[One]:
    """The first ``most`` pictures of each class."""
    there: Counter[str] = Counter()
    for i, label in enumerate(images.labels.tolist()):
        name = images.classes[label]
        if name in names and there[name] < most:
            there[name] += 1
            yield name, F.to_pil_image(images.batch(torch.tensor([i]), None)[0][0])


def square(box: Sequence[float], width: int, height: int) -> tuple[int, int, int, int]:
    """The square around a box (x1, y1, x2, y2), inside the picture.

    Of (10, 20, 40, 30) in 100x100 it is (10, 10, 40, 40).
    """
    left, top, right, bottom = box
    side = min(round(max(right - left, bottom - top)), width, height)
    x = min(max(round((left + right - side) / 2), 0), width - side)
    y = min(max(round((top + bottom - side) / 2), 0), height - side)
    return x, y, x + side, y + side


def cut_out(path: Path, boxes: Tensor, labels: Tensor, classes: Sequence[str], size: int) -> Iterator[One]:
    """Every object of a picture, scaled to a square."""
    with Image.open(path) as picture:
        rgb = ImageOps.exif_transpose(picture).convert("RGB")
    for box, label in zip(boxes.tolist(), labels.tolist(), strict=True):
        where = square(box, *rgb.size)
        if where[2] > where[0]:
            yield classes[label], rgb.crop(where).resize((size, size), Image.Resampling.BILINEAR)


def written(pictures: Iterator[One], folder: Path) -> Counter[str]:
    """How many of each class there are now."""
    there: Counter[str] = Counter()
    for name, picture in pictures:
        (folder / name).mkdir(parents=True, exist_ok=True)
        picture.save(folder / name / f"{there[name]:05}.png")
        there[name] += 1
    return there


def of_classes(given: argparse.Namespace) -> dict[str, Iterator[One]]:
    parts, names = concord.load_data(given.source, valid=0.0), given.names.split(",")
    return {"train": some(parts.train, names, given.train), "test": some(parts.test, names, given.test)}


def of_boxes(given: argparse.Namespace) -> dict[str, Iterator[One]]:
    """Its validation pictures are trained on: whoever reads the folders cuts off others."""
    parts = concord.load_boxes(given.source)

    def cuts(*several: BoxedImages) -> Iterator[One]:
        for part in several:
            for sample in part.samples:
                truth = sample.truth
                yield from cut_out(sample.image, truth.boxes, truth.labels, part.classes, given.size)

    return {"train": cuts(parts.train, parts.valid), "test": cuts(parts.test)}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    verbs = parser.add_subparsers(dest="verb", required=True)
    classes, boxes = verbs.add_parser("classes"), verbs.add_parser("boxes")
    classes.add_argument("--names", required=True)
    classes.add_argument("--train", type=int, required=True)
    classes.add_argument("--test", type=int, required=True)
    boxes.add_argument("--size", type=int, default=40)
    for verb in (classes, boxes):
        verb.add_argument("source")
        verb.add_argument("--to", type=Path, required=True)
    given = parser.parse_args()
    pictures = of_classes(given) if given.verb == "classes" else of_boxes(given)
    for part, made in pictures.items():
        counted = written(made, given.to / part)
        print(f"{given.to / part}: {', '.join(f'{n} {name}' for name, n in sorted(counted.items()))}")


if __name__ == "__main__":
    main()

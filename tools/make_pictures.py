"""A folder of many JPEG pictures, cheaply: a few distinct ones of each class, and hard links to them.

    python tools/make_pictures.py FOLDER --count 100000 --side 224 --classes 10 --distinct 1000

A link has the name, size and pixels of a file of its own; only the disk holds it once. Pictures are smooth
noise, so that they have the size of a photo of that side (about 15 kB at 224x224). ``--copies`` makes
files instead of links.
"""

import argparse
import os
import shutil
from pathlib import Path

import numpy as np
from PIL import Image


def picture(numbers: np.random.Generator, side: int) -> Image.Image:
    """Smooth noise in colour."""
    coarse = numbers.integers(0, 256, (side // 8, side // 8, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((side, side), Image.Resampling.BICUBIC)


def make(folder: Path, count: int, side: int, classes: int, distinct: int, copies: bool) -> None:
    numbers = np.random.default_rng(0)
    for k in range(classes):
        (folder / f"class{k}").mkdir(parents=True, exist_ok=True)
    for i in range(count):
        path = folder / f"class{i % classes}" / f"{i:07}.jpg"
        if i < distinct:
            picture(numbers, side).save(path, quality=85)
            continue
        first = i % distinct
        source = folder / f"class{first % classes}" / f"{first:07}.jpg"
        if copies:
            shutil.copyfile(source, path)
        else:
            os.link(source, path)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--side", type=int, default=224)
    parser.add_argument("--classes", type=int, default=10)
    parser.add_argument("--distinct", type=int, default=1_000)
    parser.add_argument("--copies", action="store_true", help="files of their own instead of hard links")
    given = parser.parse_args()
    make(given.folder, given.count, given.side, given.classes, given.distinct, given.copies)


if __name__ == "__main__":
    main()

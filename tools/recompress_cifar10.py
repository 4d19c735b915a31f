"""CIFAR-10's binary version with every image compressed once more as JPEG: what does such a loss cost?

Usage: python tools/recompress_cifar10.py CIFAR10 QUALITY DESTINATION

Colours are not subsampled (4:4:4). The 10,000 images of a file are laid out as a sheet of 100 by 100; blocks
of 8x8 pixels never cross an image of 32x32, so each is compressed by itself.
"""

import argparse
import io
import shutil
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

SIDE, ACROSS = 32, 100  # pixels of an image, images in a row of the sheet
RECORD = 1 + 3 * SIDE * SIDE  # a label, then red, green and blue


def compressed(images: NDArray[np.uint8], quality: int) -> NDArray[np.uint8]:
    """Pixels after JPEG. Shape: (10000, 3, 32, 32) uint8 -> (10000, 3, 32, 32) uint8"""
    grid = images.reshape(ACROSS, ACROSS, 3, SIDE, SIDE).transpose(0, 3, 1, 4, 2)
    sheet = np.ascontiguousarray(grid.reshape(ACROSS * SIDE, ACROSS * SIDE, 3))
    file = io.BytesIO()
    Image.fromarray(sheet).save(file, "JPEG", quality=quality, subsampling=0)
    pixels = np.asarray(Image.open(file)).reshape(ACROSS, SIDE, ACROSS, SIDE, 3)
    return pixels.transpose(0, 2, 4, 1, 3).reshape(images.shape)


def main(source: Path, quality: int, destination: Path) -> None:
    """Write every file of the set anew, and print by how much the pixels of each changed."""
    destination.mkdir(parents=True, exist_ok=True)
    shutil.copy(source / "batches.meta.txt", destination)
    for path in sorted(source.glob("*_batch*.bin")):
        records = np.fromfile(path, np.uint8).reshape(-1, RECORD)
        before = records[:, 1:].reshape(-1, 3, SIDE, SIDE)
        after = compressed(before, quality)
        change = np.sqrt(np.mean((after.astype(float) - before) ** 2))
        print(f"{path.name}: root mean square change {change:.2f}")
        np.concatenate([records[:, :1], after.reshape(len(records), -1)], 1).tofile(destination / path.name)


def asked() -> argparse.Namespace:
    """The command line; a wrong one ends in a sentence and status 2."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("source", type=Path, metavar="CIFAR10", help="folder of the binary version")
    parser.add_argument("quality", type=int, metavar="QUALITY", help="1 to 100")
    parser.add_argument("destination", type=Path, metavar="DESTINATION", help="another folder")
    given = parser.parse_args()
    if not (given.source / "test_batch.bin").is_file():
        parser.error(f"{given.source}: no test_batch.bin there; give the folder of CIFAR-10's binary version")
    if not 1 <= given.quality <= 100:
        parser.error(f"QUALITY is 1 to 100, not {given.quality}")
    if given.destination.resolve() == given.source.resolve():
        parser.error("DESTINATION is the folder that is read; give another one")
    return given


if __name__ == "__main__":
    main(**vars(asked()))

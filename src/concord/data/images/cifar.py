"""CIFAR-10, binary version.

Source: A. Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009; format of
https://www.cs.toronto.edu/~kriz/cifar.html: records of 1 label byte and 3072 pixel bytes, the red, then the
green, then the blue plane of 32 x 32, row by row. The python version is pickle and is not read.
"""

from functools import partial, reduce
from pathlib import Path

import numpy as np
import torch

from concord.data import memory
from concord.data.images.images import Images, checked, joined
from concord.data.images.parts import Parts, attempt, stored_sizes
from concord.data.names import Numbered
from concord.errors import DataError
from concord.files.text import printable

FOLDER = "cifar-10-batches-bin"
PYTHON_FOLDER = "cifar-10-batches-py"
RECORD = 1 + 3 * 32 * 32
NAMES = "batches.meta.txt"
BATCHES = tuple(f"data_batch_{i}.bin" for i in range(1, 6))
NUMBERS = tuple(str(k) for k in range(10))
LARGEST_NAMES = 1 << 16


def batches(folder: Path) -> list[Path]:
    """The training batches in that folder, in order."""
    return [folder / name for name in BATCHES if (folder / name).is_file()]


def refuse_pickles(folder: Path) -> None:
    """DataError if the python version lies there: to read it is to run what is in it."""
    if (folder / "data_batch_1").is_file():
        raise DataError(
            f"{printable(folder)} holds the python version of CIFAR-10, which is pickle and is not read; "
            "take the binary version: concord data get cifar10"
        )


def read(path: Path, classes: tuple[str, ...] = NUMBERS) -> Images:
    """The records of one batch file. Shape: (N, 3, 32, 32) uint8

    Raises DataError that names the file, and the record if it is one: data_batch_1.bin[17].
    """
    size = path.stat().st_size
    if size == 0 or size % RECORD:
        raise DataError(
            f"{printable(path)} has {size:,} bytes, expected a multiple of {RECORD} (1 label + 3072 pixels); "
            "it is damaged or not the binary version, fetch it again"
        )
    memory.require(size, printable(path), "use fewer batches")
    records = np.fromfile(path, np.uint8).reshape(-1, RECORD)
    pixels = torch.from_numpy(np.ascontiguousarray(records[:, 1:])).reshape(-1, 3, 32, 32)
    return checked(pixels, records[:, 0], classes, Numbered(path.name, len(records)))


def parts(folder: Path) -> Parts:
    """data_batch_1.bin to _5.bin as training part, test_batch.bin, if there, as test part."""
    problems: list[str] = []
    there = batches(folder)
    absent = [name for name in BATCHES if folder / name not in there]
    notices = [f"{printable(folder.name)} lacks {', '.join(absent)}"] if absent else []
    classes = _class_names(folder, problems, notices)
    read_ones = [attempt(problems, partial(read, path, classes)) for path in there]
    good = [images for images in read_ones if images is not None]
    train = reduce(joined, good) if good else None
    last = folder / "test_batch.bin"
    test = attempt(problems, partial(read, last, classes)) if last.is_file() else None
    sizes = stored_sizes(train, test)
    return Parts("CIFAR-10", train, test=test, notices=tuple(notices), problems=tuple(problems), sizes=sizes)


def _class_names(folder: Path, problems: list[str], notices: list[str]) -> tuple[str, ...]:
    path = folder / NAMES
    if not path.is_file():
        notices.append(f"{printable(folder.name)} has no {NAMES}: classes are called 0 to 9")
        return NUMBERS
    with path.open(encoding="utf-8", errors="replace") as file:
        names = tuple(file.read(LARGEST_NAMES).split())
    if len(set(names)) != 10:
        problems.append(f"{printable(path)} has {len(set(names))} different names, expected 10")
        return NUMBERS
    return names

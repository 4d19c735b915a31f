"""NPZ files as Keras keeps its data sets: x_train, y_train, x_test, y_test; or images, labels.

x_val and y_val (or x_valid, y_valid) are the validation part. Other arrays are ignored, and named.

Source of the format: NumPy, "numpy.lib.format" (an .npy file) inside a zip archive.

Sizes are compared before anything is allocated: what the zip entry promises with the bytes it has in the
file, and what the .npy header promises with the zip entry. Object arrays are pickle and are refused, and so
is a list of more entries than any set of arrays has, before it is read.
"""

import io
import math
import zipfile
import zlib
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from numpy.lib import format as npy
from numpy.typing import NDArray
from torch import Tensor

from concord.data import memory
from concord.data.images.images import Images, checked
from concord.data.images.parts import Parts, stored_sizes
from concord.data.names import Numbered
from concord.errors import DataError
from concord.files.text import printable

MOST_EXPANSION = 1032  # of DEFLATE
HEADER_ROOM = 1 << 16
MOST_ENTRIES = 1_000
LONGEST_LIST = 1 << 20  # bytes of a zip file's list of entries, 46 and a name for each
DAMAGED = (zipfile.BadZipFile, zlib.error, EOFError, ValueError, NotImplementedError, RuntimeError, KeyError)
PARTS = {  # images and labels of each part; the first pair may have another name
    "train": (("x_train", "y_train"), ("images", "labels")),
    "valid": (("x_val", "y_val"), ("x_valid", "y_valid")),
    "test": (("x_test", "y_test"),),
}
Arrays = dict[str, NDArray[Any]]
Layout = dict[str, tuple[str, str]]  # part -> names of its images and labels


def parts(path: Path) -> Parts:
    """The arrays as training part and, where they are there, validation and test part.

    Raises DataError for other keys, objects, pixels that are not uint8, or archives that lie about sizes.
    """
    arrays, layout, others = _arrays(path)
    count = _class_count(arrays[layout["train"][1]], path)
    read = {part: _images(arrays, x, y, count, path) for part, (x, y) in layout.items()}
    shapes = {images.shape for images in read.values()}
    if len(shapes) > 1:
        listed = " and ".join(map(str, sorted(shapes)))
        raise DataError(f"{printable(path)}: images of {' and '.join(read)} differ in size, {listed}")
    lacking = [pair for part, pairs in PARTS.items() if part not in layout for pair in pairs]
    halves = {key: other for x, y in lacking for key, other in ((x, y), (y, x)) if key in others}
    extra = ", ".join(sorted(map(printable, others - halves.keys()))[:20])
    return Parts(
        "NPZ",
        read["train"],
        valid=read.get("valid"),
        test=read.get("test"),
        notices=(f"arrays ignored: {extra}",) if extra else (),
        problems=tuple(
            f"{printable(path)} has {key} without {other}: add it, or leave {key} out"
            for key, other in halves.items()
        ),
        sizes=stored_sizes(*read.values()),
    )


def _arrays(path: Path) -> tuple[Arrays, Layout, set[str]]:
    """The arrays of the layout, and the names of those beside it."""
    try:
        with _Listed(io.FileIO(path)) as file, zipfile.ZipFile(file) as archive:
            if len(archive.filelist) > MOST_ENTRIES:
                raise DataError(_too_many(path))
            file.listing = False
            layout, others = _layout(archive, path)
            entries = {key: archive.getinfo(f"{key}.npy") for pair in layout.values() for key in pair}
            total = sum(entry.file_size for entry in entries.values())
            for key, entry in entries.items():
                _check_entry(entry, key, path)
            memory.require(2 * total, printable(path), "use a smaller part of the data")
            arrays = {key: _array(archive, entry, key, path) for key, entry in entries.items()}
            return arrays, layout, others
    except _ListTooLongError:
        raise DataError(_too_many(path)) from None
    except DAMAGED as error:
        raise DataError(f"{printable(path)} is damaged ({error}); make or fetch it again") from error


class _ListTooLongError(Exception):
    """Of the entries of a zip file."""


class _Listed(io.BufferedReader):
    """A zip file whose list of entries, which is read at one stroke, may have so many bytes.

    The number of entries that the file states is no limit: zipfile goes by the bytes.
    """

    listing = True

    def read(self, size: int | None = -1, /) -> bytes:
        if self.listing and size is not None and size > LONGEST_LIST:
            raise _ListTooLongError
        return super().read(size)


def _too_many(path: Path) -> str:
    return (
        f"{printable(path)} lists more than {MOST_ENTRIES:,} entries or {memory.size(LONGEST_LIST)} of them; "
        "an NPZ file has one for each array"
    )


def _layout(archive: zipfile.ZipFile, path: Path) -> tuple[Layout, set[str]]:
    found = {name.removesuffix(".npy") for name in archive.namelist()}
    whole = {part: [pair for pair in pairs if found.issuperset(pair)] for part, pairs in PARTS.items()}
    layout = {part: pairs[0] for part, pairs in whole.items() if pairs}
    if "train" in layout:
        return layout, found.difference(*layout.values())
    given = ", ".join(sorted(map(printable, found))[:20]) or "nothing"
    raise DataError(
        f"{printable(path)} holds {given}; expected x_train, y_train, x_test, y_test or images, labels"
    )


def _check_entry(entry: zipfile.ZipInfo, key: str, path: Path) -> None:
    if entry.file_size > entry.compress_size * MOST_EXPANSION + HEADER_ROOM:
        raise DataError(
            f"{printable(path)}: {key} would grow from {memory.size(entry.compress_size)} to "
            f"{memory.size(entry.file_size)} when unpacked, which no honest archive does"
        )


def _array(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, key: str, path: Path) -> NDArray[Any]:
    with archive.open(entry) as file:
        shape, dtype = _header(file)
        if dtype.hasobject:
            raise DataError(
                f"{printable(path)}: {key} holds Python objects (pickle); save it as an integer array"
            )
        values = entry.file_size - file.tell()
        if math.prod(shape) * dtype.itemsize != values:
            raise DataError(
                f"{printable(path)}: {key} says {shape} of {dtype}, "
                f"which does not fit the {values:,} bytes there are"
            )
    with archive.open(entry) as file:
        return npy.read_array(file, allow_pickle=False)


def _header(file: IO[bytes]) -> tuple[tuple[int, ...], np.dtype[Any]]:
    version = npy.read_magic(file)
    read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    shape, _, dtype = read(file)
    return shape, dtype


def _class_count(labels: NDArray[Any], path: Path) -> int:
    if not labels.size:
        raise DataError(f"{printable(path)} holds no labels")
    return int(labels.max()) + 1 if labels.dtype.kind in "iu" and labels.max() < HEADER_ROOM else 2


def _images(arrays: Arrays, x: str, y: str, count: int, path: Path) -> Images:
    labels = arrays[y].reshape(-1) if arrays[y].shape[1:] == (1,) else arrays[y]
    pixels = _pixels(arrays[x], x, path)
    classes = tuple(str(k) for k in range(count))
    return checked(pixels, labels, classes, Numbered(f"{path.name}:{x}", len(pixels)))


def _pixels(array: NDArray[Any], key: str, path: Path) -> Tensor:
    if array.dtype != np.uint8:
        raise DataError(f"{printable(path)}: {key} is {array.dtype}, expected uint8 (values 0..255)")
    if array.ndim == 4 and array.shape[3] in (1, 3):
        return torch.from_numpy(np.ascontiguousarray(array.transpose(0, 3, 1, 2)))
    if array.ndim == 3:
        return torch.from_numpy(np.ascontiguousarray(array)).unsqueeze(1)
    raise DataError(
        f"{printable(path)}: {key} has shape {array.shape}, expected (N, H, W) or (N, H, W, 1 or 3)"
    )

"""IDX files, plain or gzip: the format of MNIST, Fashion-MNIST and notMNIST.

Source: Y. LeCun, C. Cortes, C. Burges, "The MNIST database of handwritten digits": two zero bytes, a type
(0x08 = unsigned byte), the number of dimensions, each dimension as a big-endian 32-bit number, the values.

The header is compared with the size of the file before anything is allocated. A gzip file does not say its
size; DEFLATE makes at most 1032 bytes of one, so a header that promises more is refused, and no more than
what the header promises is ever unpacked. Whether a file is gzip is read from its first bytes.
"""

import gzip
import math
import struct
import zlib
from pathlib import Path
from typing import IO, cast

import numpy as np
import torch
from numpy.typing import NDArray

from concord.data import memory
from concord.data.images.images import Images, checked
from concord.data.names import Numbered
from concord.errors import ConcordError, DataError
from concord.files.text import printable

MOST_EXPANSION = 1032
TYPES = {9: "signed bytes", 11: "16-bit integers", 12: "32-bit integers", 13: "floats", 14: "doubles"}
CHUNK = 1 << 20


def read(path: Path, dimensions: int) -> NDArray[np.uint8]:
    """The array of an IDX file of unsigned bytes with that many dimensions.

    Raises DataError that names the file, what was expected and what it holds; ResourceError before an
    allocation that does not fit.
    """
    try:
        with path.open("rb") as file:
            packed = file.read(2) == b"\x1f\x8b"
            file.seek(0)
            if not packed:
                return _read(file, path, dimensions, packed=False)
            with gzip.GzipFile(fileobj=file) as unpacked:
                return _read(cast(IO[bytes], unpacked), path, dimensions, packed=True)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise DataError(f"{printable(path)} is damaged gzip ({error}); fetch it again") from error
    except ConcordError:
        raise
    except OSError as error:
        raise DataError(f"{printable(path)} cannot be read: {error.strerror or error}") from error


def _read(file: IO[bytes], path: Path, dimensions: int, *, packed: bool) -> NDArray[np.uint8]:
    shape = _header(file, path, dimensions)
    expected = math.prod(shape)
    on_disk = path.stat().st_size
    most = on_disk * MOST_EXPANSION if packed else on_disk - 4 - 4 * dimensions
    if expected > most or (not packed and expected < most):
        bound = "at most " if packed else ""
        fault = "cut short" if expected > most else "too long"
        promised = f"{' x '.join(map(str, shape))} = {expected:,} bytes of values"
        raise DataError(
            f"{printable(path)} is {fault}: its header says {promised}, the file holds {bound}{most:,}; "
            "fetch it again"
        )
    memory.require(expected, f"{printable(path)}", "use a smaller part of the data")
    return _values(file, path, expected).reshape(shape)


def _header(file: IO[bytes], path: Path, dimensions: int) -> tuple[int, ...]:
    head = file.read(4)
    if not head:
        raise DataError(f"{printable(path)} is empty; fetch it again")
    if len(head) == 4 and head[:2] != b"\0\0":
        raise DataError(
            f"{printable(path)} is not an IDX file: it begins with {head.hex(' ')}, expected 00 00 08"
        )
    if len(head) == 4 and head[2] != 8:
        kind = TYPES.get(head[2], f"type 0x{head[2]:02x}")
        raise DataError(f"{printable(path)} holds {kind}, expected unsigned bytes (type 0x08)")
    if len(head) == 4 and head[3] != dimensions:
        raise DataError(
            f"{printable(path)} has {head[3]} dimensions, expected {dimensions} ({_meant(dimensions)})"
        )
    sizes = file.read(4 * dimensions)
    if len(head) + len(sizes) < 4 + 4 * dimensions:
        given = len(head) + len(sizes)
        raise DataError(f"{printable(path)} ends inside its header: {given} bytes of {4 + 4 * dimensions}")
    shape = struct.unpack(f">{dimensions}I", sizes)
    if 0 in shape:
        raise DataError(f"{printable(path)} holds no values: its size is {' x '.join(map(str, shape))}")
    return shape


def _meant(dimensions: int) -> str:
    return {1: "labels: N", 3: "grey images: N x H x W"}.get(dimensions, "N x ...")


def _values(file: IO[bytes], path: Path, expected: int) -> NDArray[np.uint8]:
    values = np.empty(expected, np.uint8)
    filled = 0
    while filled < expected:
        piece = file.read(min(CHUNK, expected - filled))
        if not piece:
            raise DataError(
                f"{printable(path)} is cut short: {filled:,} bytes of values, the header says {expected:,}; "
                "fetch it again"
            )
        values[filled : filled + len(piece)] = np.frombuffer(piece, np.uint8)
        filled += len(piece)
    if file.read(1):  # at the end of a gzip file this also compares its checksum
        raise DataError(f"{printable(path)} is too long: bytes follow the {expected:,} that the header says")
    return values


def read_pair(images: Path, labels: Path, classes: tuple[str, ...] | None = None) -> Images:
    """Grey images and their labels from two files; without ``classes`` they are '0', '1', ... to the largest.

    Shape: (N, 1, H, W) uint8. Raises DataError as ``read`` does, and where the two do not fit together.
    """
    pixels, numbers = read(images, 3), read(labels, 1)
    if len(pixels) != len(numbers):
        raise DataError(
            f"{printable(images)} holds {len(pixels):,} images, {printable(labels)} {len(numbers):,} labels: "
            "the two files do not belong together"
        )
    classes = classes or tuple(str(k) for k in range(int(numbers.max()) + 1))
    names = Numbered(images.name, len(pixels))
    return checked(torch.from_numpy(pixels).unsqueeze(1), numbers, classes, names)

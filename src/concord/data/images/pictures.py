"""Many image files -> what all of them have in common: look at every header, decide on size and channels."""

import hashlib
import os
from collections import Counter, deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from concord.data import memory
from concord.data.images import decode
from concord.data.images.decode import Mode
from concord.data.images.stores import InFiles, stamp
from concord.data.names import Packed
from concord.errors import DataError
from concord.files.text import printable

DEFAULT_SIZE = 64
PIECE = 64  # files that a thread takes at a time
END = 512  # bytes at each end of a file that count for its mark
MOST_EXACT = 2**28  # bytes of pixels, up to which all of them count for fingerprint and statistics
# Called with how many of how many images are read, of 0 while they are being found; its error ends that.
Watch = Callable[[int, int], None]
HEADER = np.dtype(
    [
        ("height", np.int32),
        ("width", np.int32),
        ("grey", np.bool_),
        ("bytes", np.int64),
        ("changed", np.int64),
        ("mark", np.uint64),
    ]
)


@dataclass(frozen=True)
class Layout:
    """What all images of a set become."""

    mode: Mode
    size: tuple[int, int]  # height, width
    notices: tuple[str, ...] = ()

    @property
    def shape(self) -> tuple[int, int, int]:
        return (1 if self.mode == "L" else 3, *self.size)


@dataclass(frozen=True, eq=False)
class Headers:
    """What the files say of themselves: a record for each, and the reasons of those that cannot be opened."""

    root: Path
    names: Packed
    records: NDArray[np.void]  # (N,) of HEADER
    bad: dict[int, str]  # by number
    largest: float  # megapixels of an image that can be opened

    @property
    def good(self) -> NDArray[np.int64]:
        """Numbers of the files that can be opened."""
        return np.delete(np.arange(len(self.names)), list(self.bad))

    def store(self, plan: Layout) -> InFiles:
        """The files that can be opened, to be decoded when asked for."""
        good = self.good
        records = self.records[good]
        names = Packed.of(self.names.name(i) for i in good) if self.bad else self.names
        stamps = np.stack([records["bytes"], records["changed"]], 1)
        exact = len(good) * int(np.prod(plan.shape)) <= MOST_EXACT
        marks = None if exact else np.ascontiguousarray(records["mark"])
        return InFiles(self.root, names, plan.mode, plan.size, stamps, marks, self.largest)


def headers(
    root: Path, names: Sequence[str], watch: Watch | None = None, largest: float = decode.LARGEST
) -> Headers:
    """What the headers of the files ``names`` below ``root`` say."""
    packed = Packed.of(names)
    records = np.zeros(len(packed), HEADER)

    def look(i: int) -> None:
        path = root / packed.name(i)
        found = decode.header(path, largest)
        size, changed = stamp(path)
        records[i] = (found.height, found.width, found.grey, size, changed, _mark(path, size))

    return Headers(root, packed, records, _each(look, len(packed), packed, root, watch), largest)


def _mark(path: Path, size: int) -> int:
    """64 bits of the size and both ends of a file: the end of a PNG or JPEG depends on all of its pixels."""
    handle = os.open(path, os.O_RDONLY)
    try:
        ends = os.pread(handle, END, 0) + os.pread(handle, END, max(0, size - END))
    finally:
        os.close(handle)
    return int.from_bytes(hashlib.blake2b(b"%d\n%b" % (size, ends), digest_size=8).digest(), "little")


def layout(found: Headers, size: int | None) -> Layout:
    """Grey if every image is; ``size`` if given, else the common size, else 64x64 with a notice."""
    records = found.records[found.good]
    mode: Mode = "L" if records["grey"].all() else "RGB"
    sizes = histogram(found)
    if size is not None:
        notices = () if set(sizes) <= {f"{size}x{size}"} else (f"images resized to {size}x{size}",)
        return Layout(mode, (size, size), notices)
    if not len(records):
        return Layout(mode, (DEFAULT_SIZE, DEFAULT_SIZE))
    if len(sizes) == 1:
        return Layout(mode, (int(records["height"][0]), int(records["width"][0])))
    areas = records["height"].astype(np.int64) * records["width"]
    smallest, largest = records[areas.argmin()], records[areas.argmax()]
    span = f"{smallest['width']}x{smallest['height']} to {largest['width']}x{largest['height']}"
    resized = f"resized to {DEFAULT_SIZE}x{DEFAULT_SIZE}: choose with --set data.size=N"
    return Layout(mode, (DEFAULT_SIZE, DEFAULT_SIZE), (f"images differ in size ({span}); {resized}",))


def histogram(found: Headers) -> dict[str, int]:
    """How many images have each size, most frequent first: '640x480' (width x height) -> 12."""
    records = found.records[found.good]
    pairs = zip(records["width"].tolist(), records["height"].tolist(), strict=True)
    return {f"{width}x{height}": n for (width, height), n in Counter(pairs).most_common()}


def decoded(
    files: InFiles, place: Callable[[int, Tensor], None], watch: Watch | None = None
) -> dict[int, str]:
    """Hand every image to ``place(row, pixels)``, in threads; the reasons of those that cannot be decoded.

    A file that has changed since its header was read is among them.
    """

    def one(row: int) -> None:
        place(row, files.decoded(row))

    return _each(one, len(files), files.names, files.root, watch)


def in_memory(files: InFiles, watch: Watch | None = None) -> tuple[Tensor, dict[int, str]]:
    """All images decoded, zeros for those that cannot be, and the reasons for these.

    Shape: (N, C, H, W) uint8. Raises ResourceError before reading if they will not fit in memory.
    """
    channels, height, width = files.shape
    need = len(files) * channels * height * width
    what = f"{len(files):,} images of {width}x{height}"
    memory.require(need, what, "choose a smaller --set data.size=N, or --set data.keep=disk")
    out = torch.zeros((len(files), *files.shape), dtype=torch.uint8)
    return out, decoded(files, out.__setitem__, watch)


def _each(
    do: Callable[[int], None], count: int, names: Packed, root: Path, watch: Watch | None
) -> dict[int, str]:
    """``do`` for each number, in threads; the reasons of those that raise DataError, by number."""
    bad: dict[int, str] = {}
    threads = min(8, os.cpu_count() or 1)
    size = max(1, min(PIECE, count // (4 * threads)))

    def some(numbers: range) -> list[str | None]:
        return [_reason(do, i, root, names) for i in numbers]

    # Pillow decodes without Python's lock, so threads help; warnings are set once, around all of them. A few
    # pieces wait at a time, so that a million files need no million futures.
    waiting: deque[tuple[range, Future[list[str | None]]]] = deque()

    def settle() -> None:
        numbers, future = waiting.popleft()
        for i, reason in zip(numbers, future.result(), strict=True):
            if reason is not None:
                bad[i] = reason
            if watch:
                watch(i + 1, count)

    with decode.quiet(), ThreadPoolExecutor(threads) as pool:
        try:
            for start in range(0, count, size):
                numbers = range(start, min(start + size, count))
                waiting.append((numbers, pool.submit(some, numbers)))
                if len(waiting) > 2 * threads:
                    settle()
            while waiting:
                settle()
        finally:  # an error of the watch ends what has not begun
            pool.shutdown(cancel_futures=True)
    return bad


def _reason(do: Callable[[int], None], i: int, root: Path, names: Packed) -> str | None:
    try:
        do(i)
    except DataError as error:
        return str(error).removeprefix(printable(root / names.name(i))).lstrip(" :")
    return None

"""Many image files -> one tensor: look at all headers, decide on size and channels, then decode."""

import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from concord.data import memory
from concord.data.images import decode
from concord.data.images.decode import Header, Mode
from concord.data.text import printable
from concord.errors import DataError

DEFAULT_SIZE = 64
Watch = Callable[[int, int], None]  # is told how many of how many images are read; an error of its ends that


@dataclass(frozen=True)
class Layout:
    """What all images of a set become."""

    mode: Mode
    size: tuple[int, int]  # height, width
    notices: tuple[str, ...] = ()

    @property
    def shape(self) -> tuple[int, int, int]:
        return (1 if self.mode == "L" else 3, *self.size)


def headers(files: Sequence[Path]) -> tuple[dict[Path, Header], dict[Path, str]]:
    """The headers of the files that can be opened, and for the others the reason why not."""
    good: dict[Path, Header] = {}
    bad: dict[Path, str] = {}

    def look(path: Path) -> None:
        good[path] = decode.header(path)

    _each(look, files, bad)
    return {path: good[path] for path in files if path in good}, bad


def layout(found: Mapping[Path, Header], size: int | None) -> Layout:
    """Grey if every image is; ``size`` if given, else the common size, else 64x64 with a notice."""
    mode: Mode = "L" if all(header.grey for header in found.values()) else "RGB"
    sizes = histogram(found)
    if size is not None:
        notices = () if set(sizes) <= {f"{size}x{size}"} else (f"images resized to {size}x{size}",)
        return Layout(mode, (size, size), notices)
    if not found:
        return Layout(mode, (DEFAULT_SIZE, DEFAULT_SIZE))
    if len(sizes) == 1:
        one = next(iter(found.values()))
        return Layout(mode, (one.height, one.width))
    smallest = min(found.values(), key=lambda h: h.height * h.width)
    largest = max(found.values(), key=lambda h: h.height * h.width)
    span = f"{smallest.width}x{smallest.height} to {largest.width}x{largest.height}"
    resized = f"resized to {DEFAULT_SIZE}x{DEFAULT_SIZE}: choose with --set data.size=N"
    return Layout(mode, (DEFAULT_SIZE, DEFAULT_SIZE), (f"images differ in size ({span}); {resized}",))


def histogram(found: Mapping[Path, Header]) -> dict[str, int]:
    """How many images have each size, most frequent first: '640x480' (width x height) -> 12."""
    return dict(Counter(f"{h.width}x{h.height}" for h in found.values()).most_common())


def pixels(
    files: Sequence[Path], plan: Layout, watch: Watch | None = None
) -> tuple[Tensor, list[Path], dict[Path, str]]:
    """The decoded images, their files, and the reasons for those that could not be decoded.

    Shape: (N, C, H, W) uint8. Raises ResourceError before reading if they will not fit in memory.
    """
    channels, height, width = plan.shape
    need = 2 * len(files) * channels * height * width  # once as a whole, once cut into splits
    memory.require(need, f"{len(files):,} images of {width}x{height}", "choose a smaller --set data.size=N")
    out = torch.empty((len(files), *plan.shape), dtype=torch.uint8)
    row = {path: i for i, path in enumerate(files)}
    bad: dict[Path, str] = {}

    def place(path: Path) -> None:
        out[row[path]] = decode.image(path, plan.mode, plan.size)

    _each(place, files, bad, watch)
    good = [path for path in files if path not in bad]
    kept = out if not bad else out[torch.tensor([row[path] for path in good], dtype=torch.int64)]
    return kept, good, bad


def _each(
    do: Callable[[Path], None], files: Sequence[Path], bad: dict[Path, str], watch: Watch | None = None
) -> None:
    def one(path: Path) -> str | None:
        try:
            do(path)
        except DataError as error:
            return str(error).removeprefix(printable(path)).lstrip(" :")
        return None

    # Pillow decodes without Python's lock, so threads help; warnings are set once, around all of them.
    with decode.quiet(), ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        # An error of the watch ends the loop, and with it the map, which cancels what has not begun.
        for done, (path, reason) in enumerate(zip(files, pool.map(one, files), strict=True), 1):
            if reason is not None:
                bad[path] = reason
            if watch:
                watch(done, len(files))

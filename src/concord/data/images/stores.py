"""Where the pixels of images are: in memory, or in files that are decoded when they are asked for.

A store knows rows and pixels only. Which of its rows form a part of the data, and what they show, is what
``Images`` knows, so that parts are views of one store and nothing is held twice.
"""

import os
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from concord.data.images import decode
from concord.data.images.decode import Mode
from concord.data.names import Packed
from concord.errors import DataError
from concord.files.text import printable

PIECE = 128  # rows of a piece that is copied
DECODED = 16  # rows of a piece that is decoded


class Store(Protocol):
    """Images of one shape by row. ``marks`` (N,) stand for the pixels where these are too many to look at."""

    @property
    def shape(self) -> tuple[int, int, int]: ...  # C, H, W

    @property
    def marks(self) -> NDArray[np.uint64] | None: ...

    def __len__(self) -> int: ...

    def take(self, rows: Tensor) -> Tensor:
        """Shape: (B,) -> (B, C, H, W) uint8"""
        ...

    def pieces(self, rows: Tensor) -> Iterator[Tensor]:
        """The same for many rows, some at a time and in order."""
        ...


@dataclass(frozen=True, eq=False)
class InMemory:
    """Pixels in memory, or on a device."""

    pixels: Tensor  # (N, C, H, W) uint8
    marks: NDArray[np.uint64] | None = None
    files: "InFiles | None" = None  # what takes its place once all that must be known of the pixels is known

    def __post_init__(self) -> None:
        if self.pixels.ndim != 4 or self.pixels.dtype != torch.uint8:
            given = f"{tuple(self.pixels.shape)} {self.pixels.dtype}"
            raise DataError(f"images must be (N, C, H, W) uint8 (values 0..255), got {given}")

    @property
    def shape(self) -> tuple[int, int, int]:
        c, h, w = self.pixels.shape[1:]
        return c, h, w

    def __len__(self) -> int:
        return len(self.pixels)

    def take(self, rows: Tensor) -> Tensor:
        return self.pixels[rows.to(self.pixels.device, non_blocking=True)]

    def pieces(self, rows: Tensor) -> Iterator[Tensor]:
        return (self.take(piece) for piece in rows.split(PIECE))

    def to(self, device: torch.device | str) -> "InMemory":
        return replace(self, pixels=self.pixels.to(device))


@dataclass(frozen=True, eq=False)
class InFiles:
    """Image files, decoded when they are asked for; one that is no longer as it was found is refused."""

    root: Path
    names: Packed  # below the root
    mode: Mode
    size: tuple[int, int]  # height, width
    stamps: NDArray[np.int64]  # (N, 2): bytes, and time of the last change in nanoseconds
    marks: NDArray[np.uint64] | None = None
    largest: float = decode.LARGEST  # megapixels that are decoded

    @property
    def shape(self) -> tuple[int, int, int]:
        return (1 if self.mode == "L" else 3, *self.size)

    def __len__(self) -> int:
        return len(self.names)

    def path(self, row: int) -> Path:
        return self.root / self.names.name(row)

    def decoded(self, row: int) -> Tensor:
        """The image of one row; call within ``decode.quiet``. Shape: (C, H, W) uint8"""
        path = self.path(row)
        pixels = decode.image(path, self.mode, self.size, self.largest)
        if stamp(path) != tuple(self.stamps[row]):
            raise DataError(
                f"{printable(path)} has changed since the data were read; leave the files as they are while "
                "they are in use, and start the command again"
            )
        return pixels

    def take(self, rows: Tensor) -> Tensor:
        with decode.quiet():
            return self._placed(rows.tolist())

    def _placed(self, rows: list[int]) -> Tensor:
        out = torch.empty((len(rows), *self.shape), dtype=torch.uint8)
        for place, row in enumerate(rows):
            out[place] = self.decoded(row)
        return out

    def pieces(self, rows: Tensor) -> Iterator[Tensor]:
        # Pillow decodes without Python's lock, so threads help; a few pieces wait at a time, never all.
        threads = min(8, os.cpu_count() or 1)
        waiting: deque[Future[Tensor]] = deque()
        with decode.quiet(), ThreadPoolExecutor(threads) as pool:
            try:
                for piece in rows.split(DECODED):
                    waiting.append(pool.submit(self._placed, piece.tolist()))
                    if len(waiting) > 2 * threads:
                        yield waiting.popleft().result()
                while waiting:
                    yield waiting.popleft().result()
            finally:
                pool.shutdown(cancel_futures=True)

    def subset(self, rows: NDArray[np.int64]) -> "InFiles":
        """The files of these rows, which become rows 0, 1, ..."""
        marks = None if self.marks is None else self.marks[rows]
        names = Packed.of(self.names.name(int(row)) for row in rows)
        return replace(self, names=names, stamps=self.stamps[rows], marks=marks)


def stamp(path: Path) -> tuple[int, int]:
    """Bytes of a file and the time of its last change; DataError if it is gone."""
    try:
        status = os.stat(path)  # noqa: PTH116  as in decode
    except OSError as error:
        raise DataError(f"{printable(path)} cannot be read: {error.strerror}") from error
    return status.st_size, status.st_mtime_ns

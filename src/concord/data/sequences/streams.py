"""A text cut into streams that are read side by side, piece after piece, for members that carry a state."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256

import torch
from torch import Tensor

from concord.data.dataset import Draw, Spec
from concord.data.sequences.padded import NOTHING
from concord.errors import DataError, UsageError


@dataclass(frozen=True, eq=False)
class Streams:
    """Pieces of ``steps`` symbols of ``streams`` equal streams, in the order of an epoch.

    Batch i holds the symbols i · steps to (i + 1) · steps of every stream, so batches are those of
    ``batch_size=streams, shuffle=False``. Targets are the next symbols; the last pieces are padded with 0,
    their targets with -1. Fewer than ``streams`` symbols at the end are left out, none where there is one
    stream. UsageError for sizes below 1, DataError for a text with fewer symbols than streams.
    """

    symbols: Tensor  # (N,) int64
    alphabet: Sequence[str]
    steps: int
    streams: int

    def __post_init__(self) -> None:
        if min(self.steps, self.streams) < 1:
            raise UsageError(
                f"steps and streams are at least 1, got {self.steps} steps and {self.streams} streams"
            )
        if not self._long:
            raise DataError(
                f"{len(self.symbols):,} symbols are too few for {self.streams} streams: take fewer streams"
            )

    @property
    def _long(self) -> int:
        """Symbols of a stream, each with one behind it."""
        return (len(self.symbols) - 1) // self.streams

    @property
    def spec(self) -> Spec:
        return Spec("text", ((self.steps,), ()), (torch.int64, torch.bool), tuple(self.alphabet))

    @cached_property
    def fingerprint(self) -> str:
        known = repr((tuple(self.alphabet), self.steps, self.streams)).encode()
        return sha256(known + self.symbols.numpy().tobytes()).hexdigest()

    def __len__(self) -> int:
        return -(-self._long // self.steps) * self.streams

    def batch(self, index: Tensor, draw: Draw | None) -> tuple[tuple[Tensor, Tensor], Tensor]:
        """Symbols and whether their stream begins; the next symbols. Shape: -> ((B, T), (B,)), (B, T)"""
        piece, stream = index // self.streams, index % self.streams
        t = piece[:, None] * self.steps + torch.arange(self.steps)  # (B, T), from the stream's beginning
        there = t < self._long
        place = torch.where(there, stream[:, None] * self._long + t, 0)
        x = torch.where(there, self.symbols[place], 0)
        y = torch.where(there, self.symbols[place + 1], NOTHING)
        return (x, piece == 0), y

    def name(self, i: int) -> str:
        begin = i % self.streams * self._long + i // self.streams * self.steps
        return f"characters {begin:,} to {begin + self.steps - 1:,}"

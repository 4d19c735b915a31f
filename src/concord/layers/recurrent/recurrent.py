"""Layers of cells, in one direction or both."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from concord.errors import ShapeError, UsageError
from concord.layers.recurrent.scan import State, require_lengths


class Recurrent(nn.Module):
    """``layers`` layers of a cell over time; with ``bidirectional`` a second one that reads from the end.

    ``make(inputs, hidden)`` gives a new cell: ``Recurrent(LSTM, 3, 10)``, or with options
    ``Recurrent(partial(LSTM, peephole="diagonal"), 3, 10, layers=2)``. Dropout acts between layers. Where a
    cell is one of torch's own, torch's kernel runs it.

    Shape: (B, T, D) -> (B, T, H), (B, T, 2 H) in both directions; maps (B, T, C, H, W) likewise
    """

    def __init__(
        self,
        make: Callable[[int, int], nn.Module],
        inputs: int,
        hidden: int,
        *,
        layers: int = 1,
        bidirectional: bool = False,
        dropout: float = 0.0,
    ) -> None:
        if layers < 1 or not 0 <= dropout < 1:
            raise UsageError(f"expected at least 1 layer and a dropout in [0, 1), got {layers} and {dropout}")
        super().__init__()
        self.directions = 2 if bidirectional else 1
        widths = [inputs] + [hidden * self.directions] * (layers - 1)
        self.cells = nn.ModuleList(make(width, hidden) for width in widths for _ in range(self.directions))
        self.dropout = nn.Dropout(dropout)

    def initial(self, batch: int, *sides: int) -> list[State]:
        """The first state of every cell, as ``forward`` takes it and gives the last one back."""
        return [cell.initial(batch, *sides) for cell in self.cells]  # type: ignore[operator]

    def forward(
        self,
        x: Tensor | PackedSequence,
        state: Sequence[State] | None = None,
        lengths: Tensor | None = None,
    ) -> tuple[Any, list[State]]:
        """What the last layer gives at every step, 0 behind a sample's end; the last state of every cell.

        A PackedSequence is answered with one. ``state`` is a list as the one that comes back.
        """
        if isinstance(x, PackedSequence):
            padded, lengths = pad_packed_sequence(x, batch_first=True)
            y, after = self(padded, state, lengths.to(padded.device))
            return pack_padded_sequence(y, lengths, batch_first=True, enforce_sorted=False), after
        _require(x, state, lengths, len(self.cells))
        y, after = x.transpose(0, 1), []
        for k in range(0, len(self.cells), self.directions):
            if k:
                y = self.dropout(y)
            given = []
            layer: Any = self.cells[k : k + self.directions]
            for cell, backward in zip(layer, (False, True), strict=False):
                read = turned(y, lengths) if backward else y
                plain = state is None and lengths is None  # as ``concord cost`` knows it by its sizes
                out, last = cell(read) if plain else cell(read, state and state[len(after)], lengths)
                given.append(turned(out, lengths) if backward else out)
                after.append(last)
            y = torch.cat(given, 2) if len(given) > 1 else given[0]
        return y.transpose(0, 1), after


def turned(x: Tensor, lengths: Tensor | None) -> Tensor:
    """Every sample from its end to its beginning; what lies behind the end stays. Shape: (T, B, ...) kept"""
    if lengths is None:
        return x.flip(0)
    t = torch.arange(x.shape[0], device=x.device)[:, None]
    source = torch.where(t < lengths, lengths - 1 - t, t)  # (T, B)
    return x[source, torch.arange(x.shape[1], device=x.device)]


def _require(x: Tensor, state: Sequence[State] | None, lengths: Tensor | None, cells: int) -> None:
    if x.ndim < 3 or not x.shape[1]:
        raise ShapeError(f"expected (B, T, D) with at least one step, got {tuple(x.shape)}")
    if lengths is not None:
        require_lengths(lengths, *x.shape[:2])
    if state is not None and len(state) != cells:
        raise ShapeError(f"expected one state for each of {cells} cells, got {len(state)}")

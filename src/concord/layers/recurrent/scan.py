"""One loop over time for every cell, with lengths, taps on the state, and truncation."""

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from concord.errors import ShapeError, UsageError

State = tuple[Tensor, ...]  # the first is what the cell gives; each has the samples along its first axis


class Steps(Protocol):
    """What ``scan`` needs of a cell, see ``Cell``."""

    def project(self, x: Tensor) -> Tensor: ...
    def step(self, projected: Tensor, state: State) -> State: ...
    def initial(self, batch: int, *sides: int) -> State: ...


def scan(
    cell: Steps,
    x: Tensor,
    state: State | None = None,
    lengths: Tensor | None = None,
    *,
    taps: Sequence[Tensor] | None = None,
    chunk: int | None = None,
) -> tuple[Tensor, State]:
    """The cell over all steps of x: what it gives at each, and the state behind the last.

        state_t = cell.step(cell.project(x)_t, state_{t-1}),  y_t = state_t[0]

    A sample of ``lengths[b]`` steps keeps its state from there on, and y is 0. ``taps`` are T + 1 tensors
    that are added to y_0 (the initial state), y_1, ..., y_T before they go on: taps of zeros receive dL/dy_t
    in the backward pass. With ``chunk`` no gradient passes from a step to the one before it at every multiple
    of ``chunk`` (truncated back-propagation).

    Shape: x (T, B, D) or (T, B, C, H, W), lengths (B,), taps each as y_t -> y (T, B, H) or (T, B, C, H, W)

    Raises ShapeError for an x without steps, lengths outside 1 to T, taps of another number; UsageError for
    a chunk below 1.
    """
    _require(x, lengths, taps, chunk)
    state = cell.initial(x.shape[1], *x.shape[3:]) if state is None else state
    if taps is not None:
        state = (state[0] + taps[0], *state[1:])
    outputs = []
    for t, projected in enumerate(cell.project(x).unbind(0)):
        if chunk and t and t % chunk == 0:
            state = tuple(part.detach() for part in state)
        after = cell.step(projected, state)
        if taps is not None:
            after = (after[0] + taps[t + 1], *after[1:])
        if lengths is None:
            outputs.append(after[0])
        else:
            after, y = held(after, state, lengths > t)
            outputs.append(y)
        state = after
    return torch.stack(outputs), state


def held(after: State, before: State, goes_on: Tensor) -> tuple[State, Tensor]:
    """The state, and y: for samples that have ended, the state before and 0. Shape: goes_on (B,)"""
    goes_on = goes_on.view(-1, *[1] * (after[0].ndim - 1))
    after = tuple(torch.where(goes_on, new, old) for new, old in zip(after, before, strict=True))
    return after, after[0] * goes_on


def _require(x: Tensor, lengths: Tensor | None, taps: Sequence[Tensor] | None, chunk: int | None) -> None:
    if x.ndim < 3 or not len(x):
        raise ShapeError(f"expected (T, B, D) with at least one step, got {tuple(x.shape)}")
    steps, batch = x.shape[:2]
    if lengths is not None:
        require_lengths(lengths, batch, steps)
    if taps is not None and len(taps) != steps + 1:
        raise ShapeError(f"expected {steps + 1} taps for {steps} steps, got {len(taps)}")
    if chunk is not None and chunk < 1:
        raise UsageError(f"a chunk has at least 1 step, got {chunk}")


def require_lengths(lengths: Tensor, batch: int, steps: int) -> None:
    """ShapeError unless there is one whole number from 1 to ``steps`` for each sample.

    While torch exports, lengths have a shape and a type alone.
    """
    if lengths.shape != (batch,) or lengths.is_floating_point() or lengths.is_complex():
        raise ShapeError(f"lengths must be {batch} whole numbers, got {lengths.dtype} {tuple(lengths.shape)}")
    for b, length in enumerate([] if torch.compiler.is_exporting() else lengths.tolist()):
        if not 1 <= length <= steps:
            raise ShapeError(f"sample {b} has a length of {length}; expected 1 to {steps}, the steps of x")

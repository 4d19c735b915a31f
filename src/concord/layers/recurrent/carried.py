"""Truncated back-propagation over streams: the state behind one batch is where the next one begins.

A gradient reaches back to the beginning of the batch, the state as far as the stream. A network says how it
reads a stream in pieces by two methods:

    initial(batch)        the state before the first step, a tree of tensors (B, ...)
    stream(x, state)      logits (B, T, K) of a piece, and the state behind it

Source: R. Williams, J. Peng, "An efficient gradient-based algorithm for on-line training of recurrent network
trajectories", Neural Computation 2, 1990.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_flatten, tree_unflatten

from concord.errors import ShapeError, UsageError


class Carried(nn.Module):
    """A network that remembers where each of B streams is, from one batch to the next.

    ``begins`` says which streams begin with this batch: these start from the initial state. The kept state
    has no gradient; it is a buffer, so that checkpoints hold it. Evaluation has a state of its own, and
    without ``begins`` the network reads x from its initial state and nothing is kept. Padding behind the end
    of a stream changes nothing before it, so that streams need no lengths.

    Shape: x (B, T), begins (B,) bool -> (B, T, K)

    Raises UsageError for a network without ``initial`` and ``stream``, ShapeError for begins of another kind
    and for streams that continue where other numbers of them are kept.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        if not all(callable(getattr(network, name, None)) for name in ("initial", "stream")):
            raise UsageError(
                f"{type(network).__name__} cannot read a stream in pieces: give it initial(batch) and"
                " stream(x, state), as char_lstm and char_tcn have them"
            )
        self.network = network
        self.register_buffer("kept", torch.zeros(0, 0), persistent=False)  # behind the last training batch
        self.register_buffer("evaluated", torch.zeros(0, 0), persistent=False)
        self.kept: Tensor
        self.evaluated: Tensor

    def forward(self, x: Tensor, begins: Tensor | None = None) -> Tensor:
        if begins is None:
            return self.network(x)
        place = "kept" if self.training else "evaluated"
        state = self._before(getattr(self, place), x, begins)
        logits, after = self.network.stream(x, state)  # type: ignore[operator]
        setattr(self, place, _flat(after).detach())
        return logits

    def initial(self, batch: int) -> Any:
        """That of the network."""
        return self.network.initial(batch)  # type: ignore[operator]

    def stream(self, x: Tensor, state: Any) -> Any:
        """That of the network; what is kept stays as it is."""
        return self.network.stream(x, state)  # type: ignore[operator]

    def _before(self, kept: Tensor, x: Tensor, begins: Tensor) -> Any:
        """The state that each stream continues from."""
        if begins.shape != x.shape[:1] or begins.dtype != torch.bool:
            given = f"{begins.dtype} {tuple(begins.shape)}"
            raise ShapeError(f"begins must be true or false for each of {len(x)} streams, got {given}")
        first = self.initial(len(x))
        if begins.all():
            return first
        flat = _flat(first)
        if kept.shape != flat.shape:
            raise ShapeError(
                f"{len(x)} streams continue, where the state of {len(kept)} is kept: give the batches of an"
                " epoch in stored order, whole and all of one size"
            )
        return _as(first, torch.where(begins[:, None], flat, kept.to(flat)))


def _flat(state: Any) -> Tensor:
    """All parts of a state side by side. Shape: -> (B, S)"""
    return torch.cat([part.flatten(1) for part in tree_flatten(state)[0]], 1)


def _as(like: Any, flat: Tensor) -> Any:
    """``flat`` taken apart as ``like`` is."""
    parts, shape = tree_flatten(like)
    pieces = flat.split([part[0].numel() for part in parts], 1)
    return tree_unflatten(
        [piece.reshape(part.shape) for piece, part in zip(pieces, parts, strict=True)], shape
    )

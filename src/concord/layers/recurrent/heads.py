"""What stands around recurrent layers: an input of numbers or symbols, an answer for all or each step."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from concord.errors import ShapeError
from concord.layers.recurrent.recurrent import Recurrent


def require_numbers(x: Tensor, features: int) -> None:
    """ShapeError unless x is (B, T, D) with that D and at least one step."""
    if x.ndim != 3 or x.shape[2] != features or not x.shape[1] or not x.is_floating_point():
        raise ShapeError(f"expected numbers (B, T, {features}), got {x.dtype} {tuple(x.shape)}")


def require_symbols(x: Tensor, symbols: int) -> None:
    """ShapeError unless x is (B, T) whole numbers from 0 to ``symbols`` - 1 with at least one step."""
    if x.ndim != 2 or not x.shape[1] or x.dtype != torch.int64:
        raise ShapeError(f"expected symbols (B, T) as whole numbers (int64), got {x.dtype} {tuple(x.shape)}")
    there = not x.is_meta and not torch.compiler.is_exporting()
    if there and not 0 <= int(x.min()) <= int(x.max()) < symbols:
        raise ShapeError(f"expected symbols from 0 to {symbols - 1}, got {int(x.min())} to {int(x.max())}")


def last_step(y: Tensor, lengths: Tensor | None) -> Tensor:
    """What a sequence gives at its last step. Shape: (B, T, H), (B,) or None -> (B, H)"""
    return y[:, -1] if lengths is None else y[torch.arange(y.shape[0], device=y.device), lengths - 1]


class Reader(nn.Module):
    """Recurrent layers and a dense layer, on what they give at the last step or at every one.

    Shape: (B, T, D), lengths (B,) -> (B, K) logits, for ``every`` step (B, T, K)
    """

    channels_last = True

    def __init__(
        self, body: Recurrent, features: int, hidden: int, classes: int, *, every: bool = False
    ) -> None:
        super().__init__()
        self.features, self.every = features, every
        self.body, self.head = body, nn.Linear(hidden, classes)

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        require_numbers(x, self.features)
        y, _ = self.body(x, None, lengths)
        return self.head(y if self.every else last_step(y, lengths))


class OneHot(nn.Module):
    """A network of numbers that reads symbols: each step is a column with a 1 in the place of its symbol.

    Shape: (B, T) symbols, lengths (B,) -> what the network gives for (B, T, V)
    """

    channels_last = True
    columns: Tensor

    def __init__(self, symbols: int, network: nn.Module) -> None:
        super().__init__()
        self.symbols, self.network = symbols, network
        self.register_buffer("columns", torch.eye(symbols), persistent=False)

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        require_symbols(x, self.symbols)
        y: Tensor = self.network(F.embedding(x, self.columns), lengths)
        return y

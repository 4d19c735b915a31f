"""How the gradient of a loss fares on its way back through time.

Source of the question: Y. Bengio, P. Simard, P. Frasconi, "Learning long-term dependencies with gradient
descent is difficult", IEEE Transactions on Neural Networks 5, 1994.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from concord.errors import ShapeError
from concord.layers.recurrent.cell import Cell
from concord.layers.recurrent.scan import State, scan


def state_gradients(
    cell: Cell,
    x: Tensor,
    loss: Callable[[Tensor], Tensor],
    state: State | None = None,
    lengths: Tensor | None = None,
) -> Tensor:
    """dL/dh_t for every t in one backward pass, where L = loss(y) and y is what the cell gives.

    Zeros are added to each h_t before the next step reads it, and receive all of its gradient: the part of
    the loss at that step, and the part that comes back through later steps. The gradient of y alone lacks
    the second.

    Shape: x (T, B, D), loss (T, B, H) -> one number; gives (T + 1, B, H), from the initial state on

    Raises ShapeError where the loss is not one number.
    """
    first = cell.initial(x.shape[1], *x.shape[3:]) if state is None else state
    taps = [torch.zeros_like(first[0], requires_grad=True) for _ in range(len(x) + 1)]
    y, _ = scan(cell, x, first, lengths, taps=taps)
    total = loss(y)
    if total.numel() != 1:
        raise ShapeError(f"the loss must be one number, got {tuple(total.shape)}")
    found = torch.autograd.grad(total, taps, allow_unused=True)
    return torch.stack([torch.zeros_like(first[0]) if g is None else g for g in found])


def gradient_norms(gradients: Tensor) -> Tensor:
    """|dL/dh_t| of every sample. Shape: (T + 1, B, ...) -> (T + 1, B)"""
    return gradients.flatten(2).norm(dim=2)

"""The steepness of a cell's activations, raised while it trains: gates become switches.

    sigmoid(b z) and tanh(b z) with b from 1 to b_max

In the end gates are 0 or 1 and candidates -1 or 1 to the precision of the numbers, so that the state of an
LSTM becomes a counter that adds and subtracts exactly. Gates that become binary are those of Z. Li et al.,
"Towards binary-valued gates for robust LSTM training", ICML 2018, who draw noise instead.
"""

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from concord.errors import UsageError
from concord.layers.recurrent.cell import Cell


class Slope(nn.Module):
    """b W, where b is a number that is not learned. Shape: of W"""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("value", torch.ones(()))
        self.value: Tensor

    def forward(self, weight: Tensor) -> Tensor:
        return weight * self.value


def with_slope(cell: Cell) -> Slope:
    """Give the cell a slope of 1; ``slope.value.fill_(b)`` sets it, and state dicts hold it.

    All pre-activations are products of the cell's weights and bias with what it reads, so b times these is b
    times the pre-activations. Peepholes are left out. UsageError for a cell that has one already.
    """
    if parametrize.is_parametrized(cell):
        raise UsageError("the cell has a slope or another parametrization already")
    slope = Slope()
    for name in ("weight_x", "weight_h", "bias"):
        if getattr(cell, name) is not None:
            parametrize.register_parametrization(cell, name, slope)
    return slope

"""First values of recurrent weights, gate by gate.

Sources: X. Glorot, Y. Bengio, "Understanding the difficulty of training deep feedforward neural networks",
AISTATS 2010, equation 16 (uniform); A. Saxe, J. McClelland, S. Ganguli, "Exact solutions to the nonlinear
dynamics of learning in deep linear neural networks", ICLR 2014 (orthogonal); R. Jozefowicz, W. Zaremba,
I. Sutskever, "An empirical exploration of recurrent network architectures", ICML 2015, section 2.2 (a bias
of the forget gate of 1).
"""

from typing import Literal

import torch
from torch import Tensor, nn

from concord.errors import UsageError

Start = Literal["zero", "learned"]


def xavier_blocks(weight: Tensor, gates: int) -> None:
    """U(-a, a) with a = sqrt(6 / (D + H)) in each of ``gates`` blocks of H rows, from torch's generator.

    Over all blocks at once torch would take G·H for the outputs and start too small. Weights of no input stay
    as they are.
    """
    if not weight.numel():
        return
    for block in weight.chunk(gates):
        nn.init.xavier_uniform_(block)


def orthogonal_blocks(weight: Tensor, gates: int) -> None:
    """An orthogonal matrix in each of ``gates`` blocks of rows, from torch's generator."""
    for block in weight.chunk(gates):
        nn.init.orthogonal_(block)


def zeros(*shape: int) -> nn.Parameter:
    """A parameter of zeros."""
    return nn.Parameter(torch.zeros(*shape))


class FirstState(nn.Module):
    """The state before the first step: zeros, or ``parts`` learned vectors that all samples share.

    Shape: -> parts times (B, H), or (B, C, height, width) for maps, the same vector at every place
    """

    def __init__(self, hidden: int, parts: int, start: Start) -> None:
        super().__init__()
        if start not in ("zero", "learned"):
            raise UsageError(f"the initial state is zero or learned, got {start!r}")
        self.hidden, self.parts = hidden, parts
        self.vectors = nn.ParameterList(zeros(hidden) for _ in range(parts if start == "learned" else 0))

    def forward(self, batch: int, sides: tuple[int, ...], like: Tensor) -> tuple[Tensor, ...]:
        """Of the type and on the device of ``like``."""
        vectors = list(self.vectors) or [like.new_zeros(self.hidden)] * self.parts
        return tuple(v.view(-1, *[1] * len(sides)).expand(batch, -1, *sides) for v in vectors)

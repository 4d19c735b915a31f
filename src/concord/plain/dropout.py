"""Dropout, in the form of the source and in that of torch.

Source: Yao, "AlexNet (2012): Dropout" (N. Srivastava et al., "Dropout", 2014).

The source keeps a neuron with probability p, zeroes it with 1 - p, and multiplies by p while testing. torch
multiplies by 1/p while training instead and changes nothing while testing ("inverted"). In both the
expectation of what the next layer is given in training is what it is given in testing; the two forms differ
by the factor p, which the next layer's weights take up. Mind the letter: the p of torch.nn.Dropout is the
probability to zero, 1 - p here.
"""

from collections.abc import Sequence
from random import Random

from concord.plain.vectors import Vector, hadamard, scaled


def draw_mask(size: int, p: float, random: Random) -> Vector:
    """m_j = 1 with probability p, 0 with probability 1 - p, each on its own."""
    check_probability(p)
    return [1.0 if random.random() < p else 0.0 for _ in range(size)]


def forward(x: Sequence[float], mask: Sequence[float]) -> Vector:
    """While training: y = m o x."""
    return hadamard(mask, x)


def backward(dy: Sequence[float], mask: Sequence[float]) -> Vector:
    """dL/dx = m o dL/dy: a neuron that was zeroed learns nothing."""
    return hadamard(mask, dy)


def while_testing(x: Sequence[float], p: float) -> Vector:
    """y = p x, which is E[m o x]."""
    check_probability(p)
    return scaled(p, x)


def inverted(x: Sequence[float], mask: Sequence[float], p: float) -> Vector:
    """torch's form while training: y = m o x / p, with E[y] = x, so that testing leaves x as it is."""
    check_probability(p)
    return scaled(1 / p, hadamard(mask, x))


def inverted_backward(dy: Sequence[float], mask: Sequence[float], p: float) -> Vector:
    """dL/dx = m o dL/dy / p."""
    return inverted(dy, mask, p)


def check_probability(p: float) -> None:
    """ValueError unless 0 < p <= 1."""
    if not 0 < p <= 1:
        raise ValueError(f"p: expected the probability to keep a neuron, above 0 and at most 1, got {p}")

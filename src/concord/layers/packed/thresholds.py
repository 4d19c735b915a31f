"""Batch normalisation before a sign is a threshold, and after a convolution a factor and a shift.

sign(gamma (x - mu) / sd + beta) compares x with mu - beta sd / gamma, the other way round for gamma < 0, and
is sign(beta) for gamma = 0. Where exactly it turns depends on how each step is rounded, so it is not computed
but searched for, with the layer itself: rounded, it still never falls as gamma x rises.
"""

from dataclasses import dataclass
from typing import TypeGuard

import torch
from torch import Tensor, nn

BatchNorm = nn.BatchNorm1d | nn.BatchNorm2d


@dataclass(frozen=True)
class Threshold:
    """The layer gives less than 0 where side x < cut. Shape: (C,) each, ``side`` -1 or +1"""

    cut: Tensor
    side: Tensor


def has_statistics(module: nn.Module | None) -> TypeGuard[BatchNorm]:
    """Whether it is a batch normalisation that is the same for every batch."""
    return isinstance(module, BatchNorm) and module.running_mean is not None


@torch.no_grad()
def threshold(norm: BatchNorm) -> Threshold:
    """Where its sign turns, for each channel: the least side x of all float32 for which it is not negative.

    cut is -inf where it never is negative, and inf where it always is.
    """
    assert norm.running_mean is not None
    side = torch.ones_like(norm.running_mean)
    if norm.weight is not None:
        side = torch.where(norm.weight < 0, -side, side)
    low, high = (torch.full(side.shape, end, dtype=torch.int64) for end in (_LOWEST, _HIGHEST))
    while (low < high).any():  # the answer lies in low..high
        middle = (low + high).div(2, rounding_mode="floor")
        positive = _normalised(norm, side * _numbered(middle)) >= 0
        above = (low < high) & ~positive  # a channel whose answer is found stays
        low, high = torch.where(above, middle + 1, low), torch.where(positive, middle, high)
    cut = _numbered(low)
    never = _normalised(norm, side * torch.full_like(side, -_LARGEST)) >= 0
    return Threshold(torch.where(never, -torch.inf, cut), side)


def affine(norm: BatchNorm) -> tuple[Tensor, Tensor]:
    """Factor and shift, (C,) each: gamma / sqrt(var + eps) and beta - mu factor, rounded as PyTorch does."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    factor = torch.rsqrt(norm.running_var + norm.eps)
    if norm.weight is not None:
        factor = factor * norm.weight.detach()
    beta = torch.zeros_like(factor) if norm.bias is None else norm.bias.detach()
    shift = beta.double() - norm.running_mean.double() * factor.double()
    return factor, shift.float()


def _normalised(norm: BatchNorm, x: Tensor) -> Tensor:
    """Of one value for each channel. Shape: (C,) -> (C,)"""
    return norm(x.view(1, -1, *[1] * (isinstance(norm, nn.BatchNorm2d) * 2))).flatten()


# Floats in rising order have numbers in rising order: their bits, mirrored below 0.
_LARGEST = torch.finfo(torch.float32).max
_HIGHEST = 0x7F800000  # of infinity
_LOWEST = -0x7F7FFFFF  # of the lowest finite one


def _numbered(order: Tensor) -> Tensor:
    """The float of that number. Shape: (C,) int64 -> (C,) float32"""
    size = order.abs().to(torch.int32).view(torch.float32)
    return torch.where(order < 0, -size, size)

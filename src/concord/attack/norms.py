"""The two balls that attacks stay in: of the largest change of a pixel, and of the Euclidean length.

A radius that is a tensor stretches the ball along the axes: all changes d with ||d / eps|| <= 1. That is how
a ball of pixels looks after each channel was divided by its standard deviation.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from concord.attack.gradient import Size

TINY = 1e-30


@dataclass(frozen=True)
class Norm:
    """What an attack needs to know of a norm; ``eps`` is the radius of the ball."""

    steepest: Callable[[Tensor, Size], Tensor]  # (gradient, eps) -> direction of length 1 that climbs most
    project: Callable[[Tensor, Size], Tensor]  # (change, eps) -> the nearest change inside the ball
    draw: Callable[[Tensor, Size, torch.Generator], Tensor]  # (images, eps, generator) -> a change inside it


def _linf_draw(images: Tensor, eps: Size, generator: torch.Generator) -> Tensor:
    """Uniform in [-eps, eps], each number by itself."""
    noise = torch.rand(images.shape, generator=generator, device=generator.device)
    return eps * (2 * noise - 1).to(images)


def _l2_steepest(gradient: Tensor, eps: Size) -> Tensor:
    """eps g / ||eps g||; the largest entry is divided out first, so that a tiny gradient is not lost."""
    scaled = eps * gradient
    largest = scaled.abs().flatten(1).amax(1)
    scaled = scaled / _each(largest.clamp(min=TINY), scaled)
    return scaled / _each(_length(scaled).clamp(min=TINY), scaled)


def _l2_project(change: Tensor, eps: Size) -> Tensor:
    """d / max(1, ||d / eps||)"""
    length = _length(change / torch.as_tensor(eps).clamp(min=TINY))
    return change / _each(length.clamp(min=1), change)


def _l2_draw(images: Tensor, eps: Size, generator: torch.Generator) -> Tensor:
    """Uniform in the ball: a direction of normal numbers, a length of u^(1 / D) for uniform u."""
    noise = torch.randn(images.shape, generator=generator, device=generator.device)
    length = torch.rand(len(images), generator=generator, device=generator.device)
    wanted = length ** (1 / noise[0].numel()) / _length(noise).clamp(min=TINY)
    return eps * (noise * _each(wanted, noise)).to(images)


def _length(change: Tensor) -> Tensor:
    """Euclidean length of each sample. Shape: (B, ...) -> (B,)"""
    return change.flatten(1).norm(dim=1)


def _each(numbers: Tensor, like: Tensor) -> Tensor:
    """One number per sample, to calculate with whole samples. Shape: (B,) -> (B, 1, ...)"""
    return numbers.view(-1, *[1] * (like.ndim - 1))


NORMS = {
    "linf": Norm(
        steepest=lambda gradient, eps: gradient.sign(),
        project=lambda change, eps: change.clamp(min=-eps).clamp(max=eps),
        draw=_linf_draw,
    ),
    "l2": Norm(_l2_steepest, _l2_project, _l2_draw),
}

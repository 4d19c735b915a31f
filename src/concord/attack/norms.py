"""The two balls that attacks stay in: of the largest change of a pixel, and of the Euclidean length.

A radius that is a tensor stretches the ball along the axes: all changes d with ||d / eps|| <= 1. That is how
a ball of pixels looks after each channel was divided by its standard deviation.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from concord.attack.gradient import Size, told


@dataclass(frozen=True)
class Norm:
    """What an attack needs to know of a norm; ``eps`` is the radius of the ball.

    ``steepest`` is made of the finite entries of the gradient alone, and 0 where there is none but zeros.
    """

    steepest: Callable[[Tensor, Size], Tensor]  # (gradient, eps) -> direction of length 1 that climbs most
    project: Callable[[Tensor, Size], Tensor]  # (change, eps) -> the nearest change inside the ball
    draw: Callable[[Tensor, Size, torch.Generator], Tensor]  # (images, eps, generator) -> a change inside it


def _linf_draw(images: Tensor, eps: Size, generator: torch.Generator) -> Tensor:
    """Uniform in [-eps, eps], each number by itself."""
    noise = torch.rand(images.shape, generator=generator, device=generator.device)
    return eps * (2 * noise - 1).to(images)


def _l2_steepest(gradient: Tensor, eps: Size) -> Tensor:
    """eps g / ||eps g||; the largest entry is divided out first, so that neither overflows nor is lost."""
    scaled = _largest_is_one(eps * _largest_is_one(told(gradient)))
    return _divided(scaled, _length(scaled))


def _l2_project(change: Tensor, eps: Size) -> Tensor:
    """d / max(1, ||d / eps||), and 0 along an axis of radius 0."""
    radius = torch.as_tensor(eps, dtype=change.dtype, device=change.device)
    inside = change.where(radius > 0, 0)
    length = _length(inside / radius.where(radius > 0, 1))  # infinite beside the smallest radii: d becomes 0
    return inside / _each(length.clamp(min=1), inside)


def _l2_draw(images: Tensor, eps: Size, generator: torch.Generator) -> Tensor:
    """Uniform in the ball: a direction of normal numbers, a length of u^(1 / D) for uniform u."""
    noise = torch.randn(images.shape, generator=generator, device=generator.device)
    length = torch.rand(len(images), generator=generator, device=generator.device)
    wanted = length ** (1 / images.shape[1:].numel())
    return eps * _divided(_each(wanted, noise) * noise, _length(noise)).to(images)


def _largest_is_one(numbers: Tensor) -> Tensor:
    return _divided(numbers, numbers.abs().flatten(1).amax(1))


def _divided(numbers: Tensor, sizes: Tensor) -> Tensor:
    """Each sample by its size; one of size 0 stays as it is. Shape: (B, ...), (B,) -> (B, ...)"""
    return numbers / _each(sizes.where(sizes > 0, 1), numbers)


def within(images: Tensor, changed: Tensor, eps: Size, norm: Norm) -> Tensor:
    """The nearest images inside the ball around ``images``, with no number beyond it by rounding.

    Shape: (B, ...), (B, ...) -> (B, ...), of the type of the images
    """
    middle = images.double()
    radius = eps.double() if isinstance(eps, Tensor) else eps
    exact = norm.project(changed.double() - middle, radius)
    rounded = (middle + exact).to(images.dtype)
    beyond = (rounded.double() - middle).abs() > exact.abs()
    return torch.where(beyond, rounded.nextafter(images), rounded)


def _length(change: Tensor) -> Tensor:
    """Euclidean length of each sample. Shape: (B, ...) -> (B,)"""
    return change.flatten(1).norm(dim=1)


def _each(numbers: Tensor, like: Tensor) -> Tensor:
    """One number per sample, to calculate with whole samples. Shape: (B,) -> (B, 1, ...)"""
    return numbers.view(-1, *[1] * (like.ndim - 1))


NORMS = {
    "linf": Norm(
        steepest=lambda gradient, eps: told(gradient).sign(),
        project=lambda change, eps: change.clamp(min=-eps).clamp(max=eps),
        draw=_linf_draw,
    ),
    "l2": Norm(_l2_steepest, _l2_project, _l2_draw),
}

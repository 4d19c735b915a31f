"""The sign as +1 or -1, with a straight-through estimator in place of its derivative, which is 0.

Sources: M. Courbariaux, Y. Bengio, J.-P. David, "BinaryConnect", 2015, arXiv:1511.00363, section 2.2 (drawn
signs); M. Courbariaux et al., "Binarized neural networks", 2016, arXiv:1602.02830, section 1.3 (the estimator
``clip``); Z. Liu et al., "Bi-Real Net", ECCV 2018, arXiv:1808.00278, section 3.3 (``polynomial``).
"""

from collections.abc import Callable
from math import isfinite
from typing import Any

import torch
from torch import Tensor

from concord.errors import UsageError, suggestion


def sign(x: Tensor, clip: float = 1.0, estimator: str = "clip") -> Tensor:
    """-1 where x < 0, +1 elsewhere: sign(0) = sign(-0.0) = +1, and NaN stays NaN (``torch.sign`` gives 0).

        backward, from a gradient g:  g 1(|x| <= clip)           "clip"
                                      g (2 - 2 |x|) 1(|x| <= 1)  "polynomial", which takes no other clip

    Raises UsageError for an unknown estimator, a clip that it does not take, and numbers without a gradient.

    Shape: any -> the same
    """
    require_estimator(clip, estimator)
    if not x.is_floating_point():
        raise UsageError(f"sign expects floating-point numbers, got {x.dtype}; convert with x.float()")
    own = x.detach()
    # comparisons turned into numbers are several times as fast as torch.where; the last term is 0 or NaN
    hard = (own < 0).to(own.dtype).mul_(-2).add_(1).add_(own.clamp(0, 0))
    return straight_through(x, hard, lambda: ESTIMATORS[estimator](own, clip))


def drawn_sign(weight: Tensor) -> Tensor:
    """+1 with probability clip((w + 1) / 2, 0, 1), else -1, from torch's global generator; NaN stays NaN.

    Backward it is ``sign`` with a clip of 1. Shape: any -> the same
    """
    own = weight.detach()
    hard = (2 * torch.rand_like(own) < own + 1).to(own.dtype).mul_(2).sub_(1).add_(own.clamp(0, 0))
    return straight_through(weight, hard, lambda: inside(own, 1))


def straight_through(x: Tensor, hard: Tensor, slope: Callable[[], Tensor]) -> Tensor:
    """The numbers ``hard``, whose gradient g is g times the slope for x. Shape: thrice the same -> it"""
    if not torch.is_grad_enabled():
        return hard
    result: Tensor = _StraightThrough.apply(x, hard, slope())
    return result


class _StraightThrough(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, hard: Tensor, slope: Tensor) -> Tensor:
        return hard.clone()

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, Tensor], output: Tensor) -> None:
        ctx.save_for_backward(inputs[2])

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor, None, None]:
        return g * ctx.saved_tensors[0], None, None


def require_estimator(clip: float, estimator: str) -> None:
    """UsageError unless ``sign`` takes these two."""
    if estimator not in ESTIMATORS:
        known = ", ".join(ESTIMATORS)
        raise UsageError(
            f"no estimator {estimator!r}{suggestion(estimator, ESTIMATORS)}; use one of: {known}"
        )
    if not (isfinite(clip) and clip > 0):
        raise UsageError(f"clip is a finite number above 0, got {clip!r}")
    if estimator == "polynomial" and clip != 1:
        raise UsageError(f'the estimator "polynomial" has a clip of 1, got {clip!r}; leave clip out')


def inside(x: Tensor, clip: float) -> Tensor:
    """1 where |x| <= clip, both ends included, else 0.

    The gradient of ``clamp`` at its ends is 0 in some versions of torch: latent weights, which are clipped to
    exactly -1 and 1, would stay there.
    """
    return (x.abs() <= clip).to(x.dtype)


def _polynomial(x: Tensor, clip: float) -> Tensor:
    return (1 - x.abs()).clamp_min_(0).mul_(2)


# functions of x and the clip: what stands in for the derivative of the sign
ESTIMATORS: dict[str, Callable[[Tensor, float], Tensor]] = {"clip": inside, "polynomial": _polynomial}

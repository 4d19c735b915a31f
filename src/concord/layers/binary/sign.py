"""The sign as +1 or -1, with a straight-through estimator in place of its derivative, which is 0.

Sources: M. Courbariaux, Y. Bengio, J.-P. David, "BinaryConnect", 2015, arXiv:1511.00363, section 2.2 (drawn
signs); M. Courbariaux et al., "Binarized neural networks", 2016, arXiv:1602.02830, section 1.3 (the estimator
``clip``); Z. Liu et al., "Bi-Real Net", ECCV 2018, arXiv:1808.00278, section 3.3 (``polynomial``).
"""

from collections.abc import Callable
from math import isfinite

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
    return straight_through(torch.where(own < 0, -1.0, torch.where(own >= 0, 1.0, own)), x, clip, estimator)


def drawn_sign(weight: Tensor) -> Tensor:
    """+1 with probability clip((w + 1) / 2, 0, 1), else -1, from torch's global generator.

    Backward it is ``sign`` with a clip of 1. Shape: any -> the same
    """
    own = weight.detach()
    drawn = torch.where(torch.rand_like(own) < (own + 1) / 2, 1.0, -torch.ones_like(own))
    return straight_through(drawn, weight)


def straight_through(hard: Tensor, x: Tensor, clip: float = 1.0, estimator: str = "clip") -> Tensor:
    """The numbers ``hard`` exactly, with the gradient of the estimator at x. Shape: twice the same -> it"""
    if not torch.is_grad_enabled():
        return hard
    return with_gradient_of(ESTIMATORS[estimator](x, clip), hard)


def with_gradient_of(soft: Tensor, hard: Tensor) -> Tensor:
    """hard + (soft - soft), without rounding: the last term is 0 and is a constant to autograd."""
    return hard + (soft - soft.detach())


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
    """x where |x| <= clip, both ends included, else 0 without a gradient.

    The gradient of ``clamp`` at its ends is 0 in some versions of torch: latent weights, which are clipped to
    exactly -1 and 1, would stay there.
    """
    return torch.where(x.detach().abs() <= clip, x, 0.0)


def _polynomial(x: Tensor, clip: float) -> Tensor:
    """2 x - x |x| within the clip of 1: its derivative is 2 - 2 |x|."""
    kept = inside(x, clip)
    return 2 * kept - kept * kept.abs()


# functions of x and the clip whose derivative stands in for that of the sign
ESTIMATORS: dict[str, Callable[[Tensor, float], Tensor]] = {"clip": inside, "polynomial": _polynomial}

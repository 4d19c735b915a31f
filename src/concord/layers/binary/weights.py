"""Binary weights with a scale for each filter, W ~ alpha sign(W), and the clipping of what they are made of.

Source: M. Rastegari, V. Ordonez, J. Redmon, A. Farhadi, "XNOR-Net: ImageNet classification using binary
convolutional neural networks", 2016, arXiv:1603.05279, section 3.1.

Departure: the authors' code (allenai/XNOR-Net, util.lua) multiplies the paper's gradient by (1 - 1/C) n, and
subtracts from the weights their mean over the input channels after each update. The paper has neither.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from concord.errors import UsageError, suggestion
from concord.layers.binary.sign import inside, sign, straight_through


class Binary(NamedTuple):
    """Signs of the weights, in their shape, and one scale for each filter, (O,)."""

    signs: Tensor
    alpha: Tensor


def binary(weight: Tensor, gradient: str = "exact") -> Binary:
    """sign(W) and alpha_o = (1/n) sum_i |W_oi|, the best alpha in min |W_o - alpha sign(W_o)|^2.

    n is the number of weights of a filter. From the gradient g of the product alpha sign(W) the weights get

        "exact"  sign(W_i)/n sum_j g_j sign(W_j) + alpha g_i 1(|W_i| <= 1), the derivative through alpha
        "paper"  g_i (1/n + alpha 1(|W_i| <= 1)), which leaves out what W_i does to the other products

    With "paper" a filter of zeros alone gets no gradient, because its alpha of 0 hides g. UsageError for an
    unknown gradient. Shape: (O, ...) -> (O, ...), (O,)
    """
    require_gradient(gradient)
    return GRADIENTS[gradient](weight)


def alpha_of(weight: Tensor, signs: Tensor) -> Tensor:
    """alpha_o = (1/n) sum_i W_oi sign(W_oi), whose derivative is sign(W_oi)/n, at 0 too.

    Shape: (O, ...), the same -> (O,)
    """
    return (weight * signs.detach()).flatten(1).mean(1)


def require_gradient(gradient: str) -> None:
    """UsageError unless ``binary`` takes it."""
    if gradient not in GRADIENTS:
        known = ", ".join(GRADIENTS)
        raise UsageError(f"no gradient {gradient!r}{suggestion(gradient, GRADIENTS)}; use one of: {known}")


@torch.no_grad()
def clip_latent(weight: Tensor) -> None:
    """Clip weights that learn to [-1, 1] in place: beyond it the estimator would never move them back."""
    if weight.requires_grad:
        weight.clamp_(-1, 1)


def _exact(weight: Tensor) -> Binary:
    signs = sign(weight)
    return Binary(signs, alpha_of(weight, signs))


def _paper(weight: Tensor) -> Binary:
    """alpha is a constant; the signs, whose gradient is alpha g, have 1/(n alpha) more as slope."""
    own = weight.detach()
    hard = sign(own)
    alpha = alpha_of(own, hard)
    total = (alpha * own[0].numel()).clamp_min(torch.finfo(alpha.dtype).tiny).view(-1, *[1] * (own.ndim - 1))
    return Binary(straight_through(weight, hard, lambda: inside(own, 1) + 1 / total), alpha)


GRADIENTS: dict[str, Callable[[Tensor], Binary]] = {"exact": _exact, "paper": _paper}

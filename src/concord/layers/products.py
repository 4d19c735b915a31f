"""Matrix products by oneDNN where torch has it.

torch gives products of float32 matrices to MKL, which takes about twice as long as oneDNN on processors that
are not Intel's. oneDNN is a part of torch, but of torch's products only its linear layers for compiled graphs
use it.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

WORTH = 1_000_000  # multiplications below which calling oneDNN takes longer than MKL's product
_onednn = (
    getattr(torch.ops.mkldnn, "_linear_pointwise", None) if torch.backends.mkldnn.is_available() else None
)


def product(a: Tensor, b: Tensor) -> Tensor:
    """a b^T, without a gradient. Shape: (N, D), (M, D) -> (N, M)"""
    if _onednn is None or a.dtype != torch.float32 or not a.is_cpu:
        return a @ b.t()
    result: Tensor = _onednn(a, b, None, "none", [], "")
    return result


def product_into(out: Tensor, a: Tensor, b: Tensor) -> None:
    """out = a b^T in place, without a gradient. Shape: (N, M), (N, D), (M, D)"""
    if _onednn is None or a.numel() * len(b) < WORTH:
        torch.mm(a, b.t(), out=out)
    else:
        out.copy_(product(a, b))


class Linear(torch.autograd.Function):
    """x W^T + b, forwards and backwards by ``product``. Shape: (N, D), (G, D), (G,) or None -> (N, G)"""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight)
        y = product(x, weight)
        return y if bias is None else y.add_(bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_y: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        d_x = product(d_y, weight.t()) if ctx.needs_input_grad[0] else None
        d_weight = product(x.t(), d_y.t()).t() if ctx.needs_input_grad[1] else None
        return d_x, d_weight, d_y.sum(0) if ctx.needs_input_grad[2] else None

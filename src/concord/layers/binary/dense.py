"""Dense layers with binary weights. Shapes are (..., D).

Sources: M. Courbariaux, Y. Bengio, J.-P. David, "BinaryConnect", 2015, arXiv:1511.00363; M. Rastegari,
V. Ordonez, J. Redmon, A. Farhadi, "XNOR-Net", 2016, arXiv:1603.05279.
"""

from typing import Unpack

import torch.nn.functional as F
from torch import Tensor

from concord.layers.binary.arithmetic import scaled_rows
from concord.layers.binary.latent import LatentLinear, Placed
from concord.layers.binary.sign import drawn_sign, require_estimator, sign
from concord.layers.binary.weights import binary, require_gradient


class BinaryConnectLinear(LatentLinear):
    """y = sign(W) x + b; ``stochastic`` is that of ``BinaryConnectConv2d``. Shape: (..., D) -> (..., O)"""

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        *,
        stochastic: bool = False,
        **placed: Unpack[Placed],
    ) -> None:
        super().__init__(in_features, out_features, bias, **placed)
        self.stochastic = stochastic

    def forward(self, input: Tensor) -> Tensor:
        self.require(input)
        signs = drawn_sign(self.weight) if self.stochastic and self.training else sign(self.weight)
        return scaled_rows(F.linear(input, signs), None, self.bias)

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, stochastic={self.stochastic}"


class BWNLinear(LatentLinear):
    """y = alpha (sign(W) x) + b, with alpha_o = mean |W_o|; ``gradient`` as in ``weights.binary``.

    Shape: (..., D) -> (..., O)
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        *,
        gradient: str = "exact",
        **placed: Unpack[Placed],
    ) -> None:
        require_gradient(gradient)
        super().__init__(in_features, out_features, bias, **placed)
        self.gradient = gradient

    def forward(self, input: Tensor) -> Tensor:
        self.require(input)
        signs, alpha = binary(self.weight, self.gradient)
        return scaled_rows(F.linear(input, signs), alpha, self.bias)

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, gradient={self.gradient}"


class XNORLinear(LatentLinear):
    """y = (sign(W) sign(x)) K alpha + b, with alpha_o = mean |W_o| and K = mean |x|, or 1.

    Options are those of ``XNORConv2d``. Shape: (..., D) -> (..., O)
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        *,
        scale_inputs: bool = False,
        clip: float = 1.0,
        estimator: str = "clip",
        gradient: str = "exact",
        **placed: Unpack[Placed],
    ) -> None:
        require_estimator(clip, estimator)
        require_gradient(gradient)
        super().__init__(in_features, out_features, bias, **placed)
        self.scale_inputs = scale_inputs
        self.clip, self.estimator, self.gradient = clip, estimator, gradient

    def forward(self, input: Tensor) -> Tensor:
        self.require(input)
        signs, alpha = binary(self.weight, self.gradient)
        sums = F.linear(sign(input, self.clip, self.estimator), signs)
        k = input.abs().mean(-1, keepdim=True) if self.scale_inputs else None
        return scaled_rows(sums, alpha, self.bias, k)

    def extra_repr(self) -> str:
        return (
            f"{super().extra_repr()}, scale_inputs={self.scale_inputs}, clip={self.clip},"
            f" estimator={self.estimator}, gradient={self.gradient}"
        )

"""Convolutions with binary weights. Shapes are (B, C, H, W).

Sources: M. Courbariaux, Y. Bengio, J.-P. David, "BinaryConnect", 2015, arXiv:1511.00363; M. Rastegari,
V. Ordonez, J. Redmon, A. Farhadi, "XNOR-Net", 2016, arXiv:1603.05279.
"""

from typing import Unpack

from torch import Tensor

from concord.errors import UsageError
from concord.layers.binary.arithmetic import convolve, input_scales, scaled_maps
from concord.layers.binary.latent import LatentConv2d, Placed, Size
from concord.layers.binary.sign import drawn_sign, require_estimator, sign
from concord.layers.binary.weights import binary, require_gradient


class BinaryConnectConv2d(LatentConv2d):
    """y = conv(x, sign(W)) + b, without a scale.

    ``stochastic`` draws each sign in training, +1 with probability clip((w + 1) / 2, 0, 1), and takes
    sign(W) in evaluation; the paper (section 2.6) evaluates networks that were trained so with W itself.

    Shape: (B, C, H, W) -> (B, O, H', W')
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Size,
        stride: Size = 1,
        padding: Size | str = 0,
        dilation: Size = 1,
        groups: int = 1,
        bias: bool = True,
        *,
        stochastic: bool = False,
        **placed: Unpack[Placed],
    ) -> None:
        super().__init__(
            in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias, **placed
        )
        self.stochastic = stochastic

    def forward(self, input: Tensor) -> Tensor:
        windows = self.fitting(input)
        signs = drawn_sign(self.weight) if self.stochastic and self.training else sign(self.weight)
        return scaled_maps(convolve(input, signs, windows), None, self.bias)

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, stochastic={self.stochastic}"


class BWNConv2d(LatentConv2d):
    """y = alpha conv(x, sign(W)) + b, with alpha_o = mean |W_o|.

    ``gradient`` is "exact" or "paper", see ``weights.binary``. Shape: (B, C, H, W) -> (B, O, H', W')
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Size,
        stride: Size = 1,
        padding: Size | str = 0,
        dilation: Size = 1,
        groups: int = 1,
        bias: bool = True,
        *,
        gradient: str = "exact",
        **placed: Unpack[Placed],
    ) -> None:
        require_gradient(gradient)
        super().__init__(
            in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias, **placed
        )
        self.gradient = gradient

    def forward(self, input: Tensor) -> Tensor:
        windows = self.fitting(input)
        signs, alpha = binary(self.weight, self.gradient)
        return scaled_maps(convolve(input, signs, windows), alpha, self.bias)

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, gradient={self.gradient}"


class XNORConv2d(LatentConv2d):
    """y = conv(sign(x), sign(W)) K alpha + b, with alpha_o = mean |W_o|.

    ``scale_inputs``: K = mean |x| of each window, else 1, which costs the authors' networks less than 1 %
    of accuracy (allenai/XNOR-Net, issue 4). ``padding_value`` is what lies beyond the border: 0, or 1, which
    bits can hold. ``clip`` and ``estimator`` are those of ``sign`` for x, ``gradient`` is that of
    ``weights.binary``.

    Shape: (B, C, H, W) -> (B, O, H', W')
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Size,
        stride: Size = 1,
        padding: Size | str = 0,
        dilation: Size = 1,
        groups: int = 1,
        bias: bool = True,
        *,
        padding_value: int = 0,
        scale_inputs: bool = False,
        clip: float = 1.0,
        estimator: str = "clip",
        gradient: str = "exact",
        **placed: Unpack[Placed],
    ) -> None:
        require_estimator(clip, estimator)
        require_gradient(gradient)
        if padding_value not in (0, 1):
            raise UsageError(f"padding_value is 0 or 1, got {padding_value!r}")
        super().__init__(
            in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias, **placed
        )
        self.padding_value, self.scale_inputs = padding_value, scale_inputs
        self.clip, self.estimator, self.gradient = clip, estimator, gradient

    def forward(self, input: Tensor) -> Tensor:
        windows = self.fitting(input)
        signs, alpha = binary(self.weight, self.gradient)
        sums = convolve(sign(input, self.clip, self.estimator), signs, windows)
        k = input_scales(input, windows) if self.scale_inputs else None
        return scaled_maps(sums, alpha, self.bias, k)

    def extra_repr(self) -> str:
        return (
            f"{super().extra_repr()}, padding_value={self.padding_value}, scale_inputs={self.scale_inputs},"
            f" clip={self.clip}, estimator={self.estimator}, gradient={self.gradient}"
        )

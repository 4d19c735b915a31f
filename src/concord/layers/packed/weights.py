"""Layers with binary weights and real inputs, for use: bits are kept, and become signs when they are loaded.

They compute in floats, at the speed of any layer: only memory on disk is won.
"""

from torch import Tensor, nn

from concord.errors import ShapeError
from concord.layers.binary.arithmetic import convolve, scaled_maps, scaled_rows
from concord.layers.binary.convolution import BinaryConnectConv2d, BWNConv2d
from concord.layers.binary.dense import BinaryConnectLinear, BWNLinear
from concord.layers.binary.weights import binary
from concord.layers.packed.frozen import Frozen
from concord.native import words


class _Weights(Frozen):
    """Bits, scales unless the layer has none, bias; ``signs`` (O, C, KH, KW) are made, not kept."""

    alpha: Tensor | None
    bias: Tensor | None
    signs: Tensor

    def __init__(self, weight: Tensor, bias: Tensor | None, scaled: bool) -> None:
        super().__init__()
        own = weight.detach()
        self.channels, self.kernel = own.shape[1], (own.shape[2], own.shape[3])
        self.register_buffer("weight", words.weight_words(own))
        self.register_buffer("alpha", binary(own).alpha if scaled else None)
        self.register_buffer("bias", None if bias is None else bias.detach().clone())
        self.register_buffer("signs", self._signs(), persistent=False)
        self.register_load_state_dict_post_hook(_Weights._again)
        self.training = False

    def _signs(self) -> Tensor:
        return words.weight_signs(self.weight, self.channels, self.kernel)

    @staticmethod
    def _again(own: nn.Module, _: object) -> None:
        assert isinstance(own, _Weights)
        own.signs.copy_(own._signs())  # which keeps the memory format, and so how sums are rounded

    def extra_repr(self) -> str:
        return f"{self.channels}, {len(self.weight)}, kernel={self.kernel}"


class PackedWeightsConv2d(_Weights):
    """A packed ``BWNConv2d`` or ``BinaryConnectConv2d``. Shape: (B, C, H, W) -> (B, O, H', W')"""

    def __init__(self, layer: BWNConv2d | BinaryConnectConv2d) -> None:
        super().__init__(layer.weight, layer.bias, isinstance(layer, BWNConv2d))
        self.windows = layer.windows()

    def forward(self, input: Tensor) -> Tensor:
        return scaled_maps(convolve(input, self.signs, self.windows), self.alpha, self.bias)


class PackedWeightsLinear(_Weights):
    """A packed ``BWNLinear`` or ``BinaryConnectLinear``. Shape: (..., D) -> (..., O)"""

    def __init__(self, layer: BWNLinear | BinaryConnectLinear) -> None:
        super().__init__(layer.weight[:, :, None, None], layer.bias, isinstance(layer, BWNLinear))

    def forward(self, input: Tensor) -> Tensor:
        if input.ndim < 1 or input.shape[-1] != self.channels:
            raise ShapeError(f"expected (..., {self.channels}), got {tuple(input.shape)}")
        return scaled_rows(nn.functional.linear(input, self.signs[:, :, 0, 0]), self.alpha, self.bias)

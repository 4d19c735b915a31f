"""XNOR layers for use: signs of weights as bits, convolutions by ``concord.native``.

What they give equals the layers in floats bit for bit. The border table is not kept: it is the sums of signs
of the weights, which are made when these are arranged for the processor, and would add half to a file of 64
channels.
"""

from typing import Literal

import torch
from torch import Tensor

from concord.errors import ShapeError
from concord.layers.binary.arithmetic import Windows, input_scales, scaled_maps
from concord.layers.binary.convolution import XNORConv2d
from concord.layers.binary.dense import XNORLinear
from concord.layers.binary.weights import binary
from concord.layers.packed.frozen import Frozen
from concord.layers.packed.repeats import repeatable
from concord.native import calls, ops, words
from concord.native.checks import refuse_gradient
from concord.native.sizes import Sizes

Gives = Literal["maps", "bits", "both"]
FOLDED = ("bias", "factor", "shift", "cut", "side", "out_cut", "out_side")


class Packed(Frozen):
    """Bits of weights and scales, and what was folded in before and after; None for what was not.

    ``cut`` and ``side`` say which inputs are negative, ``out_cut`` and ``out_side`` which outputs: see
    ``concord.native.epilogue``. ``arranged`` is made of ``weight`` for this processor, and is not kept.
    """

    alpha: Tensor
    arranged: Tensor
    bias: Tensor | None
    factor: Tensor | None
    shift: Tensor | None
    cut: Tensor | None
    side: Tensor | None
    out_cut: Tensor | None
    out_side: Tensor | None

    def __init__(self, weight: Tensor, bias: Tensor | None, sizes: Sizes) -> None:
        super().__init__()
        alpha = binary(weight.detach()).alpha
        self.sizes = sizes
        self.register_buffer("weight", words.weight_words(weight.detach()))
        self.register_buffer("alpha", alpha)
        for name in FOLDED:
            self.register_buffer(name, None)
        if bias is not None:
            self.bias = bias.detach().clone()
        self.register_buffer("arranged", calls.arrange(self.weight, sizes), persistent=False)
        self.register_load_state_dict_post_hook(Packed._arrange)
        self.training = False

    @staticmethod
    def _arrange(packed: torch.nn.Module, _: object) -> None:
        assert isinstance(packed, Packed)
        packed.arranged = calls.arrange(packed.weight, packed.sizes)

    def extra_repr(self) -> str:
        s = self.sizes
        folded = [name for name in FOLDED if getattr(self, name) is not None]
        return f"{s.channels}, {s.filters}, kernel={s.kernel}, stride={s.stride}, folded={folded}"


class PackedConv2d(Packed):
    """A packed ``XNORConv2d``. ``gives`` maps (B, O, H', W'), their bits for the next layer, or both.

    ``columns`` of padding lie at both sides of the bits. A ``shortcut`` is added last.

    Shape: (B, C, H, W), or its bits -> (B, O, H', W')
    """

    def __init__(self, layer: XNORConv2d) -> None:
        windows = layer.windows()
        rows, columns = windows.before, windows.after
        padding = max(rows[0], columns[0]), max(rows[1], columns[1])
        self.cropped = padding[0] - rows[0], padding[1] - rows[1]
        sizes = Sizes(
            layer.in_channels, layer.out_channels, windows.kernel, windows.stride, padding, windows.dilation,
            windows.groups, bool(windows.padding_value),
        )  # fmt: skip
        super().__init__(layer.weight, layer.bias, sizes)
        self.flat = sizes.flat()
        self.windows: Windows | None = windows if layer.scale_inputs else None
        self.gives: Gives = "maps"
        self.columns = 0
        # whether layers can be joined to it: one group, no K, and as much padding on one side as on the other
        self.plain = windows.groups == 1 and self.cropped == (0, 0) and not layer.scale_inputs

    def forward(self, input: Tensor, shortcut: Tensor | None = None) -> Tensor | tuple[Tensor, Tensor]:
        x = input
        if shortcut is None and self.gives == "maps" and self.plain and repeatable(x):
            return self.repeat(self._maps, lambda maps: [self._maps(maps)], x, self)
        refuse_gradient(x)  # here too: to an operator torch.func.grad gives a tensor that wants none
        own = (x, self.weight, self.arranged, self.flat)
        scales = (self.alpha, self.bias, self.factor, self.shift)
        before, after = (self.cut, self.side), (self.out_cut, self.out_side)
        if not self.plain:
            return self._unfolded(x)
        if self.gives == "bits":
            return ops.binary_conv_bits(*own, self.columns, *scales, *before, *after)
        if shortcut is not None and not self._joins(shortcut, x):
            maps = ops.binary_conv(*own, *scales, None, None, *before) + shortcut
            return maps if self.gives == "maps" else (maps, ops.binary_pack(maps, self.columns, *after))
        if self.gives == "both":
            return ops.binary_conv_both(*own, self.columns, *scales, shortcut, *before, *after)
        return ops.binary_conv(*own, *scales, None, shortcut, *before)

    def _maps(self, x: Tensor) -> Tensor:
        scales = (self.alpha, self.bias, self.factor, self.shift)
        own = (x, self.weight, self.arranged, self.flat)
        return ops.binary_conv(*own, *scales, None, None, self.cut, self.side)

    def _joins(self, shortcut: object, x: Tensor) -> bool:
        """Not a number, whole numbers, or what is repeated along an axis."""
        return (
            isinstance(shortcut, Tensor)
            and shortcut.dtype == torch.float32
            and shortcut.shape == self._shape(x)
        )

    def _shape(self, x: Tensor) -> tuple[int, ...]:
        """Of the maps that come out, from maps or bits."""
        height, width = x.shape[2:]
        if x.dtype == torch.int64:
            height, width = x.shape[1], x.shape[2] - 2 * self.sizes.padding[1]
        return x.shape[0], self.sizes.filters, *self.sizes.output(height, width)

    def _unfolded(self, x: Tensor) -> Tensor:
        """With K, or with more padding on one side than on the other."""
        sums = ops.binary_conv(x, self.weight, self.arranged, self.flat, cut=self.cut, side=self.side)
        sums = sums[:, :, self.cropped[0] :, self.cropped[1] :]
        k = None if self.windows is None else input_scales(x, self.windows)
        return scaled_maps(sums, self.alpha, self.bias, k)


class PackedLinear(Packed):
    """A packed ``XNORLinear``. Shape: (..., D) -> (..., O)"""

    def __init__(self, layer: XNORLinear) -> None:
        sizes = Sizes(layer.in_features, layer.out_features, (1, 1))
        super().__init__(layer.weight[:, :, None, None], layer.bias, sizes)
        self.flat = sizes.flat()
        self.scale_inputs = layer.scale_inputs

    def forward(self, input: Tensor) -> Tensor:
        x = input
        refuse_gradient(x)
        features, filters = self.sizes.channels, self.sizes.filters
        if x.ndim < 1 or x.shape[-1] != features:
            raise ShapeError(f"expected (..., {features}), got {tuple(x.shape)}")
        rows = x.reshape(1, 1, -1, features).movedim(-1, 1)  # (1, D, 1, N): samples are columns
        if rows.shape[-1] == 0:
            return x.new_empty(*x.shape[:-1], filters)
        k = rows.abs().mean(1, keepdim=True) if self.scale_inputs else None
        y = ops.binary_conv(
            rows, self.weight, self.arranged, self.flat, self.alpha, self.bias, None, None, k, None,
            self.cut, self.side,
        )  # fmt: skip
        return y.movedim(1, -1).reshape(*x.shape[:-1], filters)

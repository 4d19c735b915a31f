"""Layers whose float weights are only what binary ones are made of: arguments, checks, and their training.

``weight`` is the latent one, a parameter of the usual shape. A training calls ``after_update``, which clips
it to [-1, 1], and leaves what ``undecayed`` names out of weight decay: decay pulls weights to 0, where
signs flip by chance.

Source: M. Courbariaux, Y. Bengio, J.-P. David, "BinaryConnect", 2015, arXiv:1511.00363, section 2.4.
"""

from typing import TypedDict, Unpack

import torch
from torch import Tensor, nn

from concord.errors import ShapeError, UsageError
from concord.layers.binary.arithmetic import Pair, Windows
from concord.layers.binary.weights import clip_latent

Size = int | Pair


class Placed(TypedDict, total=False):
    """Where parameters lie, and of which type they are."""

    device: torch.device | str | None
    dtype: torch.dtype | None


class LatentConv2d(nn.Conv2d):
    """The arguments of torch's convolution, but for its ``padding_mode``, with latent weights."""

    undecayed = ("weight",)
    padding_value = 0

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
        **placed: Unpack[Placed],
    ) -> None:
        _require_positive(
            in_channels=in_channels,
            out_channels=out_channels,
            kernel_size=kernel_size,
            stride=stride,
            dilation=dilation,
            groups=groups,
        )
        try:
            super().__init__(
                in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias, **placed
            )
        except ValueError as error:  # groups that do not divide, a padding that torch does not know
            raise UsageError(str(error)) from None

    def after_update(self) -> None:
        """Clip the latent weights to [-1, 1]."""
        clip_latent(self.weight)

    def windows(self) -> Windows:
        """Where its windows lie on the map."""
        kernel, stride, dilation = _pair(self.weight.shape[2:]), _pair(self.stride), _pair(self.dilation)
        if self.padding == "same":
            spare = [step * (size - 1) for step, size in zip(dilation, kernel, strict=True)]
            before = (spare[0] // 2, spare[1] // 2)
            after = (spare[0] - before[0], spare[1] - before[1])
        else:
            before = after = (0, 0) if isinstance(self.padding, str) else _pair(self.padding)
        return Windows(kernel, stride, before, after, dilation, self.groups, self.padding_value)

    def fitting(self, x: Tensor) -> Windows:
        """``windows``; ShapeError unless x is (B, C, H, W) with room for one."""
        if x.ndim != 4 or x.shape[1] != self.in_channels:
            raise ShapeError(f"expected (B, {self.in_channels}, H, W), got {tuple(x.shape)}")
        windows = self.windows()
        windows.output(x.shape[2], x.shape[3])
        return windows


class LatentLinear(nn.Linear):
    """The arguments of torch's dense layer, with latent weights."""

    undecayed = ("weight",)

    def __init__(
        self, in_features: int, out_features: int, bias: bool = True, **placed: Unpack[Placed]
    ) -> None:
        _require_positive(in_features=in_features, out_features=out_features)
        super().__init__(in_features, out_features, bias, **placed)

    def after_update(self) -> None:
        """Clip the latent weights to [-1, 1]."""
        clip_latent(self.weight)

    def require(self, x: Tensor) -> None:
        """ShapeError unless x is (..., D)."""
        if x.ndim < 1 or x.shape[-1] != self.in_features:
            raise ShapeError(f"expected (..., {self.in_features}), got {tuple(x.shape)}")


def _require_positive(**sizes: Size) -> None:
    for name, size in sizes.items():
        parts = size if isinstance(size, tuple | list) else (size,)
        if not all(type(part) is int and part >= 1 for part in parts):
            raise UsageError(f"{name} is a whole number of at least 1, or two of them, got {size!r}")


def _pair(sizes: tuple[int, ...]) -> Pair:
    return sizes[0], sizes[1]

"""What the kernel does, in PyTorch's operations: the same numbers, slowly, on every machine and device."""

import torch
import torch.nn.functional as F
from torch import Tensor

from concord.native import words
from concord.native.epilogue import Cut, Scales
from concord.native.sizes import Sizes


def signs_of(x: Tensor, cut: Cut) -> Tensor:
    """-1 where side x < cut, else +1. Shape: (N, C, H, W) -> the same"""
    return 1 - 2 * negative(x, cut).float()


def negative(x: Tensor, cut: Cut) -> Tensor:
    """Where a value counts as negative. Shape: (N, C, H, W) -> the same, bool"""
    if cut.side is not None:
        x = x * cut.side[:, None, None]
    return x < (0.0 if cut.cut is None else cut.cut[:, None, None])


def products(x: Tensor, weight: Tensor, sizes: Sizes, cut: Cut) -> Tensor:
    """Dot products of signs. x: floats (N, C, H, W), or bits. Shape: -> (N, O, OH, OW) float32, integers"""
    if x.dtype == torch.int64:
        side = sizes.padding[1]
        x = words.to_maps(x[:, :, side : x.shape[2] - side], sizes.channels, sizes.groups)
    else:
        x = signs_of(x, cut)
    # oneDNN reads beyond small maps of one channel whose strides are those of channels last (torch 2.15)
    x = x.clone(memory_format=torch.contiguous_format)
    (py, px), padding = sizes.padding, sizes.padding
    if sizes.ones:
        x, padding = F.pad(x, (px, px, py, py), value=1.0), (0, 0)
    signs = words.weight_signs(weight, sizes.channels // sizes.groups, sizes.kernel)
    return F.conv2d(x, signs, None, sizes.stride, padding, sizes.dilation, sizes.groups)


def scaled(y: Tensor, scales: Scales, shortcut: Tensor | None) -> Tensor:
    """y K alpha + bias, times factor plus shift, plus the shortcut. Shape: (N, O, OH, OW) -> the same"""
    if scales.kmap is not None:
        y = y * scales.kmap
    if scales.alpha is not None:
        y = y * scales.alpha[:, None, None]
    if scales.bias is not None:
        y = y + scales.bias[:, None, None]
    if scales.factor is not None and scales.shift is not None:
        still, one = torch.zeros_like(scales.factor), torch.ones_like(scales.factor)
        y = F.batch_norm(y, still, one, scales.factor, scales.shift, eps=0.0)  # rounds as that does here
    return y if shortcut is None else y + shortcut


def pooled(bits: Tensor, any_: Tensor, channels: int, kernel: list[int], columns: int) -> Tensor:
    """Maximum pooling of bits: ``kernel`` is its height and width, stride, padding and dilation.

    Shape: (N, H, W, words) -> (N, OH, OW + 2 columns, words)
    """
    ky, kx, sy, sx, py, px, dy, dx = kernel
    falling = words.from_words(any_, channels)[:, None, None]
    maps = words.to_maps(bits, channels)
    highest = F.max_pool2d(torch.where(falling, -maps, maps), (ky, kx), (sy, sx), (py, px), (dy, dx))
    return words.from_maps(torch.where(falling, -highest, highest) < 0, columns)

"""What a binary layer computes from signs and scales that are given; packed layers share it.

Source: M. Rastegari et al., "XNOR-Net", 2016, arXiv:1603.05279, section 3.2.

Sums of products of signs are whole numbers, exact in float32 up to 2^24 products. Scales follow in one fixed
order, so a kernel that counts bits can give the same numbers bit for bit.
"""

from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from concord.errors import ShapeError

Pair = tuple[int, int]


@dataclass(frozen=True)
class Windows:
    """Where the windows of a convolution lie. Pairs are rows, columns."""

    kernel: Pair
    stride: Pair = (1, 1)
    before: Pair = (0, 0)  # rows above and columns to the left of the map
    after: Pair = (0, 0)
    dilation: Pair = (1, 1)
    groups: int = 1
    padding_value: int = 0  # 0 or 1

    def output(self, height: int, width: int) -> Pair:
        """Rows and columns of the output; ShapeError for a map with less room than one window takes."""
        rows, columns = (self._along(axis, side) for axis, side in enumerate((height, width)))
        if min(rows, columns) < 1:
            raise ShapeError(
                f"a map of {height}x{width} with its padding is smaller than one window of"
                f" {self._span(0)}x{self._span(1)}"
            )
        return rows, columns

    def _span(self, axis: int) -> int:
        return self.dilation[axis] * (self.kernel[axis] - 1) + 1

    def _along(self, axis: int, side: int) -> int:
        room = side + self.before[axis] + self.after[axis] - self._span(axis)
        return room // self.stride[axis] + 1


def convolve(x: Tensor, weight: Tensor, windows: Windows) -> Tensor:
    """The convolution of x, which is padded with the value of ``windows``, and weights as they are given.

    Shape: (B, C, H, W), (O, C / groups, kh, kw) -> (B, O, H', W')
    """
    padding = windows.before
    if windows.padding_value or windows.before != windows.after:
        (top, left), (bottom, right) = windows.before, windows.after
        x = F.pad(x, (left, right, top, bottom), value=windows.padding_value)
        padding = (0, 0)
    return F.conv2d(x, weight, None, windows.stride, padding, windows.dilation, windows.groups)


def input_scales(x: Tensor, windows: Windows) -> Tensor:
    """K, the mean |x| of each window: over the channels first, then over its kh kw places.

    A place beyond the border counts as the padding value. Filters of a group see, and so average, the
    channels of that group. Shape: (B, C, H, W) -> (B, groups, H', W')
    """
    groups, taps = windows.groups, windows.kernel[0] * windows.kernel[1]
    means = x.abs().unflatten(1, (groups, -1)).mean(2)
    box = torch.full((groups, 1, *windows.kernel), 1 / taps, dtype=means.dtype, device=means.device)
    return convolve(means, box, replace(windows, groups=groups))


def scaled_maps(sums: Tensor, alpha: Tensor | None, bias: Tensor | None, k: Tensor | None = None) -> Tensor:
    """sums K alpha + bias, in this order, each product and the sum rounded by itself; None leaves one out.

    Shape: (B, O, H, W), (O,), (O,), (B, groups, H, W) -> (B, O, H, W)
    """
    if k is not None:
        sums = sums * k.repeat_interleave(sums.shape[1] // k.shape[1], 1)
    if alpha is not None:
        sums = sums * alpha.view(-1, 1, 1)
    return sums if bias is None else sums + bias.view(-1, 1, 1)


def scaled_rows(sums: Tensor, alpha: Tensor | None, bias: Tensor | None, k: Tensor | None = None) -> Tensor:
    """``scaled_maps`` for the outputs of a dense layer. Shape: (..., O), (O,), (O,), (..., 1) -> (..., O)"""
    if k is not None:
        sums = sums * k
    if alpha is not None:
        sums = sums * alpha
    return sums if bias is None else sums + bias

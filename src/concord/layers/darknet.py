"""Layers of darknet, the program in which the YOLO networks were published. Shapes are (B, C, H, W).

Source: J. Redmon, darknet (github.com/pjreddie/darknet f6afaab): convolutional_layer.c, batchnorm_layer.c,
maxpool_layer.c, blas.c and activations.h. Its layers keep their order there, so that published weights fit.

Departure: batch normalisation divides by sqrt(variance + 1e-5), as darknet does on graphics cards and in the
later fork of AlexeyAB; its code for the CPU divides by sqrt(variance) + 1e-6. Running statistics move by 1 %
of each batch, as there.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

SLOPE = 0.1  # of the leaky ReLU below zero
EPSILON, MOMENTUM = 1e-5, 0.01


def convolution(
    c_in: int, c_out: int, size: int, stride: int = 1, *, norm: bool = True, momentum: float = MOMENTUM
) -> nn.Sequential:
    """Convolution, batch normalisation in place of biases (or biases, without ``norm``), leaky ReLU.

    Shape: (B, C_in, H, W) -> (B, C_out, ceil(H / stride), ceil(W / stride)) for odd sizes
    """
    layers = nn.Sequential(nn.Conv2d(c_in, c_out, size, stride, size // 2, bias=not norm))
    if norm:
        layers.append(nn.BatchNorm2d(c_out, eps=EPSILON, momentum=momentum))
    return layers.append(nn.LeakyReLU(SLOPE))


def groups(c_in: int, filters: Sequence[Sequence[int]], **options: Any) -> nn.Sequential:
    """Groups of convolutions, 3x3 and 1x1 in turn, each group but the first behind a 2x2 pooling.

    ``options`` are those of ``convolution``. Shape: (B, C_in, H, W) -> (B, N, H / 2^g, W / 2^g), g poolings
    """
    made = nn.Sequential()
    for number, group in enumerate(filters):
        layers = nn.Sequential(*([nn.MaxPool2d(2)] if number else []))
        for i, c_out in enumerate(group):
            layers.append(convolution(c_in, c_out, 1 if i % 2 else 3, **options))
            c_in = c_out
        made.append(layers)
    return made


class MaxPool(nn.Module):
    """Maximum over windows of ``size``, with ``padding`` places around the map, most of them at its end.

        y[i] = max_{0 <= k < size} x[i stride - floor(padding / 2) + k],    x = -infinity outside

    Darknet's default is padding = size - 1, which gives ceil(H / stride) rows: windows of size 2 at stride 1
    keep the size of the map, and the last one sees its last row alone.

    Shape: (B, C, H, W) -> (B, C, floor((H + padding - size) / stride) + 1, the same of W)
    """

    def __init__(self, size: int, stride: int, padding: int | None = None) -> None:
        super().__init__()
        padding = size - 1 if padding is None else padding
        before = padding // 2
        self.around = (before, padding - before) * 2
        self.size, self.stride = size, stride

    def forward(self, x: Tensor) -> Tensor:
        if any(self.around):
            x = nn.functional.pad(x, self.around, value=-torch.inf)
        return nn.functional.max_pool2d(x, self.size, self.stride)

    def extra_repr(self) -> str:
        return f"{self.size}, {self.stride}, around={self.around}"


class Reorg(nn.Module):
    """Darknet's passthrough from a fine map to one of half its size.

    The numbers of the map are read again, in memory order, as C/s² maps of sH x sW, and

        y[(a s + b) C/s² + c][i][j] = x'[c][i s + a][j s + b]      for a, b < s, i < H, j < W

    are written one after another into s² C maps of H/s x W/s. The usual exchange of space for channels
    (``torch.nn.PixelUnshuffle``) takes x itself in place of x'; the published weights of YOLO v2 were trained
    with darknet's, in which a place of the output does not lie over its own place of the input.

    Shape: (B, C, H, W) -> (B, s² C, H/s, W/s), for C divisible by s², H and W by s
    """

    def __init__(self, stride: int = 2) -> None:
        super().__init__()
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        s, (_, c, h, w) = self.stride, x.shape
        wide = x.reshape(-1, c // s**2, h, s, w, s)
        return wide.permute(0, 3, 5, 1, 2, 4).reshape(-1, c * s**2, h // s, w // s)

    def extra_repr(self) -> str:
        return f"{self.stride}"

"""Layers of darknet, the program in which the YOLO networks were published. Shapes are (B, C, H, W).

Source: J. Redmon, darknet (github.com/pjreddie/darknet f6afaab): convolutional_layer.c, batchnorm_layer.c,
maxpool_layer.c, blas.c and activations.h. Its layers keep their order there, so that published weights fit.

Departures from it:
  * Batch normalisation divides by sqrt(variance + 1e-5), as its kernels on graphics cards and the later fork
    of AlexeyAB do; its code for the CPU divides by sqrt(variance) + 1e-6.
  * What is normalised in training has no learning rate or weight decay of its own here; running statistics
    move by 1 % of each batch, as in darknet.
"""

import torch
from torch import Tensor, nn

SLOPE = 0.1  # of the leaky ReLU below zero
EPSILON, MOMENTUM = 1e-5, 0.01


def convolution(
    c_in: int, c_out: int, size: int, stride: int = 1, *, momentum: float = MOMENTUM
) -> nn.Sequential:
    """Convolution without biases, batch normalisation, leaky ReLU of slope 0.1.

    Shape: (B, C_in, H, W) -> (B, C_out, ceil(H / stride), ceil(W / stride)) for odd sizes
    """
    return nn.Sequential(
        nn.Conv2d(c_in, c_out, size, stride, size // 2, bias=False),
        nn.BatchNorm2d(c_out, eps=EPSILON, momentum=momentum),
        nn.LeakyReLU(SLOPE),
    )


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

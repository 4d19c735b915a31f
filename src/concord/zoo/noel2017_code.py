"""The ST and M networks of collaborative training, as their author's published code builds them.

Source: J. Noel, "A collaborative approach to deep learning", 2017, section 3.3, and its code at commit
b5cf4da, the one nearest to the published tables. After K. He, X. Zhang, S. Ren, J. Sun, "Identity Mappings
in Deep Residual Networks", 2016, arXiv:1603.05027.

The report contradicts its code on width, depth and size; ``noel2017_text`` is a reading of the report.

Departures from the code:
  * The first convolution of a reduction reads relu(norm(x)). In b5cf4da it reads x itself, a slip that the
    author corrected two days later (2be1846). The number of parameters is the same.
  * The running variance is torch's unbiased one; TensorFlow kept the biased one, smaller by 1 / (B H W).
"""

from collections.abc import Callable
from math import sqrt

import torch.nn.functional as F
from torch import Tensor, nn

from concord.errors import ShapeError, UsageError
from concord.layers.normalisation import ShiftBatchNorm2d
from concord.zoo.registry import register

# tf.layers.batch_normalization: epsilon 0.001 and momentum 0.99, which counts the other way round in torch.
EPS, MOMENTUM = 1e-3, 0.01


MOST_BRICKS = 16  # of pictures of 65,536 pixels a side


def shift_norm(width: int) -> nn.Module:
    """Batch normalisation with beta and without gamma."""
    return ShiftBatchNorm2d(width, EPS, MOMENTUM)


def he_start(network: nn.Module) -> None:
    """He's start for all kernels, zero for all biases, drawn from torch's global generator.

        w ~ N(0, 1.3 * 2 / fan_in), cut off at two standard deviations

    This is the default of tf.contrib.layers.variance_scaling_initializer. The 1.3 makes up for the cut:
    0.8796 sqrt(1.3) = 1.003, so the weights that come out have variance 2 / fan_in.
    """
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            std = sqrt(1.3 * 2 / layer.weight[0].numel())
            nn.init.trunc_normal_(layer.weight, std=std, a=-2 * std, b=2 * std)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


class Unit(nn.Module):
    """A residual unit with the activations first: x + conv(relu(norm(conv(relu(norm(x)))))).

    Shape: (B, C, H, W) -> (B, C, H, W)
    """

    def __init__(self, width: int, norm: Callable[[int], nn.Module], *, bias: bool) -> None:
        super().__init__()
        self.norm1 = norm(width)
        self.conv1 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.norm2 = norm(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv1(F.relu(self.norm1(x), inplace=True))
        return x + self.conv2(F.relu(self.norm2(y), inplace=True))


class Reduction(nn.Module):
    """A residual unit that halves both sides and doubles the width; its shortcut is a 2x2 convolution of x.

    Shape: (B, C, H, W) -> (B, 2C, H/2, W/2)
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm1 = shift_norm(width)
        self.conv1 = nn.Conv2d(width, 2 * width, 3, stride=2, bias=False)
        self.norm2 = shift_norm(2 * width)
        self.conv2 = nn.Conv2d(2 * width, 2 * width, 3, padding=1, bias=False)
        self.shortcut = nn.Conv2d(width, 2 * width, 2, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        # TensorFlow's "same" at stride 2 pads an even side at its end only; padding=1 would shift the grid.
        y = self.conv1(F.pad(F.relu(self.norm1(x), inplace=True), (0, 1, 0, 1)))  # (B, 2C, H/2, W/2)
        return self.shortcut(x) + self.conv2(F.relu(self.norm2(y), inplace=True))


class Noel2017Code(nn.Module):
    """Bricks of ``repetitions`` units, a reduction between bricks, a mean over the picture, a dense layer.

    There is no normalisation and no ReLU between the last brick and the mean. With F filters the bricks
    are F, 2F, 4F, ... wide. Pixels may come in any scale: the first layer normalises them.

    Shape: (B, C, H, W) -> (B, K) logits; ShapeError unless H and W are multiples of 2^(bricks - 1)
    """

    def __init__(
        self, channels: int, classes: int, *, bricks: int = 3, repetitions: int = 1, filters: int = 8
    ) -> None:
        if min(channels, classes, bricks, repetitions, filters) < 1:
            raise UsageError("channels, classes, bricks, repetitions and filters must be at least 1")
        if bricks > MOST_BRICKS:
            raise UsageError(f"bricks must be at most {MOST_BRICKS}, each halves the sides, got {bricks}")
        super().__init__()
        widths = [filters * 2**b for b in range(bricks)]
        self.norm = nn.BatchNorm2d(channels, EPS, MOMENTUM, affine=False)
        self.stem = nn.Conv2d(channels, filters, 3, padding=1)
        self.bricks = nn.Sequential()
        for width in widths:
            brick = nn.Sequential(*(Unit(width, shift_norm, bias=True) for _ in range(repetitions)))
            if width != widths[-1]:
                brick.append(Reduction(width))
            self.bricks.append(brick)
        self.head = nn.Linear(widths[-1], classes)
        self.channels, self.multiple = channels, 2 ** (bricks - 1)
        he_start(self)

    def forward(self, x: Tensor) -> Tensor:
        if x.ndim != 4 or x.shape[1] != self.channels:
            raise ShapeError(f"expected (B, {self.channels}, H, W), got {tuple(x.shape)}")
        if x.shape[2] % self.multiple or x.shape[3] % self.multiple or 0 in x.shape[2:]:
            raise ShapeError(
                f"height and width must be multiples of {self.multiple}, got {x.shape[2]}x{x.shape[3]}; "
                "crop or pad the pictures"
            )
        x = self.bricks(self.stem(self.norm(x)))
        return self.head(x.mean((2, 3)))  # (B, C, H, W) -> (B, C) -> (B, K)


@register(
    example=(3, 32, 32),
    parameters=44_874,
    source="Noel 2017, published code b5cf4da: ST (F = 8, B = 3, R = 1)",
)
def noel2017_st(
    channels: int = 3, classes: int = 10, *, bricks: int = 3, repetitions: int = 1, filters: int = 8
) -> nn.Module:
    """The small network of the pair.

    Parameters: stem 224, units 1,176 + 4,656 + 18,528, reductions 4,008 + 15,952, head 330.
    """
    return Noel2017Code(channels, classes, bricks=bricks, repetitions=repetitions, filters=filters)


@register(
    example=(3, 32, 32),
    parameters=274_906,
    source="Noel 2017, published code b5cf4da: M (F = 16, B = 3, R = 2)",
)
def noel2017_m(
    channels: int = 3, classes: int = 10, *, bricks: int = 3, repetitions: int = 2, filters: int = 16
) -> nn.Module:
    """The larger network of the pair.

    Parameters: stem 448, units 2 x (4,656 + 18,528 + 73,920), reductions 15,952 + 63,648, head 650.
    """
    return Noel2017Code(channels, classes, bricks=bricks, repetitions=repetitions, filters=filters)

"""Wide residual networks for small pictures: WRN-28-10 and WRN-28-2.

Source: S. Zagoruyko, N. Komodakis, "Wide Residual Networks", 2016, arXiv:1605.07146, sections 2 and 3, with
36.5M parameters for WRN-28-10. WRN-28-2 (1.5M) is the common network of work on few labels, since
A. Oliver et al., "Realistic Evaluation of Deep Semi-Supervised Learning Algorithms", 2018, arXiv:1804.09170.

Departures from the paper: none in the network. Two things it leaves open are settled here:
  * As in the authors' code, a shortcut where the sizes change is a 1x1 convolution of the activated input.
  * He's start is for the convolutions; the dense layer keeps PyTorch's.
"""

from torch import Tensor, nn

from concord.errors import UsageError
from concord.layers.pictures import require_pictures
from concord.layers.start import he_start
from concord.zoo.registry import register


def activation(width: int) -> nn.Sequential:
    return nn.Sequential(nn.BatchNorm2d(width), nn.ReLU(inplace=True))


class WideUnit(nn.Module):
    """x + conv3(dropout(activation(conv3(y)))) with y = activation(x), or a 1x1 convolution of y for x.

    Shape: (B, C_in, H, W) -> (B, C_out, ceil(H / stride), ceil(W / stride))
    """

    def __init__(self, c_in: int, c_out: int, stride: int, dropout: int) -> None:
        super().__init__()
        self.first = activation(c_in)
        self.branch = nn.Sequential(
            nn.Conv2d(c_in, c_out, 3, stride, padding=1, bias=False),
            activation(c_out),
            nn.Dropout(dropout / 100),
            nn.Conv2d(c_out, c_out, 3, padding=1, bias=False),
        )
        self.projection = None if c_in == c_out else nn.Conv2d(c_in, c_out, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        y = self.first(x)
        shortcut = x if self.projection is None else self.projection(y)
        return shortcut + self.branch(y)


class WideResNet(nn.Module):
    """A convolution of 16 filters, three groups of n units, an activation, a mean, a dense layer.

    The groups are 16, 32 and 64 times ``width`` wide; the second and the third halve both sides. The depth
    is 6n + 4, which counts the projections too.

    Shape: (B, C, H, W) -> (B, K) logits, for pictures of any size
    """

    def __init__(self, channels: int, classes: int, *, depth: int, width: int, dropout: int = 0) -> None:
        if min(channels, classes, width) < 1:
            raise UsageError("channels, classes and width must be at least 1")
        if depth < 10 or depth % 6 != 4:
            raise UsageError(f"depth must be 6 n + 4 (10, 16, 22, 28, 34, 40, ...), got {depth}")
        if not 0 <= dropout < 100:
            raise UsageError(f"dropout is a percentage from 0 to 99, got {dropout}")
        super().__init__()
        self.stem = nn.Conv2d(channels, 16, 3, padding=1, bias=False)
        self.groups = nn.Sequential()
        c_in = 16
        for group in range(3):
            c_out, units = 16 * 2**group * width, nn.Sequential()
            for unit in range((depth - 4) // 6):
                units.append(WideUnit(c_in, c_out, 2 if group and not unit else 1, dropout))
                c_in = c_out
            self.groups.append(units)
        self.last = activation(c_in)
        self.head = nn.Linear(c_in, classes)
        self.channels = channels
        he_start(self)

    def forward(self, x: Tensor) -> Tensor:
        require_pictures(x, self.channels)
        x = self.last(self.groups(self.stem(x)))
        return self.head(x.mean((2, 3)))  # (B, C, H, W) -> (B, C) -> (B, K)


@register(
    example=(3, 32, 32), parameters=36_479_194, source="Zagoruyko, Komodakis 2016, section 3: WRN-28-10"
)
def wide_resnet28_10(
    channels: int = 3, classes: int = 10, *, depth: int = 28, width: int = 10, dropout: int = 0
) -> nn.Module:
    """Ten times as wide as a residual network of 16, 32 and 64 filters; ``dropout`` in percent.

    Parameters: stem 432, groups 256,352 + 3 x 461,440, 1,434,560 + 3 x 1,844,480,
    5,736,320 + 3 x 7,375,360, last norm 1,280, head 6,410.
    """
    return WideResNet(channels, classes, depth=depth, width=width, dropout=dropout)


@register(example=(3, 32, 32), parameters=1_467_610, source="Zagoruyko, Komodakis 2016, section 3: WRN-28-2")
def wide_resnet28_2(
    channels: int = 3, classes: int = 10, *, depth: int = 28, width: int = 2, dropout: int = 0
) -> nn.Module:
    """Twice as wide as a residual network of 16, 32 and 64 filters; ``dropout`` in percent.

    Parameters: stem 432, groups 14,432 + 3 x 18,560, 57,536 + 3 x 73,984, 229,760 + 3 x 295,424,
    last norm 256, head 1,290.
    """
    return WideResNet(channels, classes, depth=depth, width=width, dropout=dropout)

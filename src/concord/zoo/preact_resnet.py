"""Residual networks with the activations first: Pre-ResNet-20, -32, -44, -56, -110 and -164.

Source: K. He, X. Zhang, S. Ren, J. Sun, "Identity Mappings in Deep Residual Networks", 2016,
arXiv:1603.05027, section 4 and appendix. The paper trains -110 and -164 (1.7M each); the others are the
depths of ``cifar_resnet``. The order of the layers changes nothing in the number of parameters.

As the appendix says, the first activation stands before the first unit's two paths, and one more stands after
the last unit. Units of two 3x3 convolutions have shortcuts without parameters; the bottlenecks have
projections where the sizes change, and these read the activated input.

Departures from the paper: none in the network. Two things it leaves open are settled here:
  * As in the authors' code a bottleneck halves the sides in its first 1x1 convolution.
  * He's start is for the convolutions; the dense layer keeps PyTorch's.
"""

from torch import Tensor, nn

from concord.errors import UsageError
from concord.layers.pictures import require_pictures
from concord.layers.shortcut import PaddedShortcut
from concord.layers.start import he_start
from concord.zoo.registry import register


def activation(width: int) -> nn.Sequential:
    return nn.Sequential(nn.BatchNorm2d(width), nn.ReLU(inplace=True))


class Basic(nn.Module):
    """shortcut(x) + conv3(activation(conv3(activation(x)))); of an activated input, without the first one.

    Shape: (B, C, H, W) -> (B, width, ceil(H / stride), ceil(W / stride))
    """

    expansion = 1

    def __init__(self, c_in: int, width: int, stride: int, *, activated: bool) -> None:
        super().__init__()
        self.first = nn.Identity() if activated else activation(c_in)
        self.conv1 = nn.Conv2d(c_in, width, 3, stride, padding=1, bias=False)
        self.second = activation(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.shortcut = nn.Identity() if c_in == width else PaddedShortcut(width - c_in, stride)

    def forward(self, x: Tensor) -> Tensor:
        return self.shortcut(x) + self.conv2(self.second(self.conv1(self.first(x))))


class Bottleneck(nn.Module):
    """x + conv1(activation(conv3(activation(conv1(y))))) with y = activation(x).

    Where the sizes change, a 1x1 convolution of y takes the place of x. An activated input is its own y.

    Shape: (B, C, H, W) -> (B, 4 width, ceil(H / stride), ceil(W / stride))
    """

    expansion = 4

    def __init__(self, c_in: int, width: int, stride: int, *, activated: bool) -> None:
        super().__init__()
        self.first = nn.Identity() if activated else activation(c_in)
        self.branch = nn.Sequential(
            nn.Conv2d(c_in, width, 1, stride, bias=False),
            activation(width),
            nn.Conv2d(width, width, 3, padding=1, bias=False),
            activation(width),
            nn.Conv2d(width, 4 * width, 1, bias=False),
        )
        self.projection = None if c_in == 4 * width else nn.Conv2d(c_in, 4 * width, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        y = self.first(x)
        shortcut = x if self.projection is None else self.projection(y)
        return shortcut + self.branch(y)


class PreactResNet(nn.Module):
    """A convolution, an activation, three stages of units, an activation, a mean, a dense layer.

    With F filters the stages are F, 2F and 4F wide, times 4 at the ends of bottlenecks; the second and the
    third halve both sides. That makes 6n + 2 layers of basic units, 9n + 2 of bottlenecks.

    Shape: (B, C, H, W) -> (B, K) logits, for pictures of any size
    """

    def __init__(
        self,
        channels: int,
        classes: int,
        *,
        repetitions: int,
        filters: int = 16,
        unit: type[Basic] | type[Bottleneck] = Basic,
    ) -> None:
        if min(channels, classes, repetitions, filters) < 1:
            raise UsageError("channels, classes, repetitions and filters must be at least 1")
        super().__init__()
        stem = nn.Conv2d(channels, filters, 3, padding=1, bias=False)
        self.stem = nn.Sequential(stem, activation(filters))
        self.stages = nn.Sequential()
        c_in = filters
        for stage in range(3):
            width, units = filters * 2**stage, nn.Sequential()
            for n in range(repetitions):
                first = n == 0
                units.append(unit(c_in, width, 2 if stage and first else 1, activated=first and not stage))
                c_in = width * unit.expansion
            self.stages.append(units)
        self.last = activation(c_in)
        self.head = nn.Linear(c_in, classes)
        self.channels = channels
        he_start(self)

    def forward(self, x: Tensor) -> Tensor:
        require_pictures(x, self.channels)
        x = self.last(self.stages(self.stem(x)))
        return self.head(x.mean((2, 3)))  # (B, C, H, W) -> (B, C) -> (B, K)


@register(example=(3, 32, 32), parameters=269_722, source="He et al. 2016, after ResNet-20 of 2015")
def preact_resnet20(channels: int = 3, classes: int = 10, *, filters: int = 16) -> nn.Module:
    """n = 3.

    Parameters: stem 464, stages 4,640 + 2 x 4,672, 13,920 + 2 x 18,560, 55,488 + 2 x 73,984, last norm 128,
    head 650.
    """
    return PreactResNet(channels, classes, repetitions=3, filters=filters)


@register(example=(3, 32, 32), parameters=464_154, source="He et al. 2016, after ResNet-32 of 2015")
def preact_resnet32(channels: int = 3, classes: int = 10, *, filters: int = 16) -> nn.Module:
    """n = 5.

    Parameters: stem 464, stages 4,640 + 4 x 4,672, 13,920 + 4 x 18,560, 55,488 + 4 x 73,984, last norm 128,
    head 650.
    """
    return PreactResNet(channels, classes, repetitions=5, filters=filters)


@register(example=(3, 32, 32), parameters=658_586, source="He et al. 2016, after ResNet-44 of 2015")
def preact_resnet44(channels: int = 3, classes: int = 10, *, filters: int = 16) -> nn.Module:
    """n = 7.

    Parameters: stem 464, stages 4,640 + 6 x 4,672, 13,920 + 6 x 18,560, 55,488 + 6 x 73,984, last norm 128,
    head 650.
    """
    return PreactResNet(channels, classes, repetitions=7, filters=filters)


@register(example=(3, 32, 32), parameters=853_018, source="He et al. 2016, after ResNet-56 of 2015")
def preact_resnet56(channels: int = 3, classes: int = 10, *, filters: int = 16) -> nn.Module:
    """n = 9.

    Parameters: stem 464, stages 4,640 + 8 x 4,672, 13,920 + 8 x 18,560, 55,488 + 8 x 73,984, last norm 128,
    head 650.
    """
    return PreactResNet(channels, classes, repetitions=9, filters=filters)


@register(example=(3, 32, 32), parameters=1_727_962, source="He et al. 2016, section 4: ResNet-110")
def preact_resnet110(channels: int = 3, classes: int = 10, *, filters: int = 16) -> nn.Module:
    """n = 18.

    Parameters: stem 464, stages 4,640 + 17 x 4,672, 13,920 + 17 x 18,560, 55,488 + 17 x 73,984,
    last norm 128, head 650.
    """
    return PreactResNet(channels, classes, repetitions=18, filters=filters)


@register(example=(3, 32, 32), parameters=1_703_258, source="He et al. 2016, section 4: ResNet-164")
def preact_resnet164(channels: int = 3, classes: int = 10, *, filters: int = 16) -> nn.Module:
    """n = 18 bottlenecks.

    Parameters: stem 464, stages 4,672 + 17 x 4,544, 23,808 + 17 x 17,792, 94,720 + 17 x 70,400,
    last norm 512, head 2,570.
    """
    return PreactResNet(channels, classes, repetitions=18, filters=filters, unit=Bottleneck)

"""Residual networks for small pictures: ResNet-20, -32, -44, -56 and -110.

Source: K. He, X. Zhang, S. Ren, J. Sun, "Deep Residual Learning for Image Recognition", 2015,
arXiv:1512.03385, section 4.2. Table 6 gives 0.27M, 0.46M, 0.66M, 0.85M and 1.7M parameters.

Departures from the paper: none in the network. Two things it leaves open are settled here:
  * The zeros of a shortcut are put behind the maps that it passes on.
  * He's start is for the convolutions; the dense layer keeps PyTorch's.
"""

import torch.nn.functional as F
from torch import Tensor, nn

from concord.errors import UsageError
from concord.layers.pictures import require_pictures
from concord.layers.shortcut import PaddedShortcut
from concord.layers.start import he_start
from concord.zoo.registry import register


def conv3(c_in: int, c_out: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(c_in, c_out, 3, stride, padding=1, bias=False)


class Unit(nn.Module):
    """A residual unit with the activations last.

        relu(shortcut(x) + norm(conv(relu(norm(conv(x))))))

    Shape: (B, C_in, H, W) -> (B, C_out, ceil(H / stride), ceil(W / stride))
    """

    def __init__(self, c_in: int, c_out: int, stride: int) -> None:
        super().__init__()
        self.conv1 = conv3(c_in, c_out, stride)
        self.norm1 = nn.BatchNorm2d(c_out)
        self.conv2 = conv3(c_out, c_out)
        self.norm2 = nn.BatchNorm2d(c_out)
        self.shortcut = nn.Identity() if c_in == c_out else PaddedShortcut(c_out - c_in, stride)

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.norm1(self.conv1(x)), inplace=True)
        return F.relu(self.shortcut(x) + self.norm2(self.conv2(y)), inplace=True)


class CifarResNet(nn.Module):
    """6n + 2 layers: a convolution, three stages of n units, a mean over the picture, a dense layer.

    With F filters the stages are F, 2F and 4F wide; the second and the third halve both sides.

    Shape: (B, C, H, W) -> (B, K) logits, for pictures of any size
    """

    def __init__(self, channels: int, classes: int, *, repetitions: int, filters: int = 16) -> None:
        if min(channels, classes, repetitions, filters) < 1:
            raise UsageError("channels, classes, repetitions and filters must be at least 1")
        super().__init__()
        self.stem = nn.Sequential(conv3(channels, filters), nn.BatchNorm2d(filters), nn.ReLU(inplace=True))
        self.stages = nn.Sequential()
        c_in = filters
        for stage in range(3):
            width, units = filters * 2**stage, nn.Sequential()
            for unit in range(repetitions):
                units.append(Unit(c_in, width, 2 if stage and not unit else 1))
                c_in = width
            self.stages.append(units)
        self.head = nn.Linear(c_in, classes)
        self.channels = channels
        he_start(self)

    def forward(self, x: Tensor) -> Tensor:
        require_pictures(x, self.channels)
        x = self.stages(self.stem(x))
        return self.head(x.mean((2, 3)))  # (B, C, H, W) -> (B, C) -> (B, K)


@register(example=(3, 32, 32), parameters=269_722, source="He et al. 2015, section 4.2: ResNet-20")
def resnet20(channels: int = 3, classes: int = 10, *, filters: int = 16) -> nn.Module:
    """n = 3.

    Parameters: stem 464, stages 3 x 4,672, 13,952 + 2 x 18,560, 55,552 + 2 x 73,984, head 650.
    """
    return CifarResNet(channels, classes, repetitions=3, filters=filters)


@register(example=(3, 32, 32), parameters=464_154, source="He et al. 2015, section 4.2: ResNet-32")
def resnet32(channels: int = 3, classes: int = 10, *, filters: int = 16) -> nn.Module:
    """n = 5.

    Parameters: stem 464, stages 5 x 4,672, 13,952 + 4 x 18,560, 55,552 + 4 x 73,984, head 650.
    """
    return CifarResNet(channels, classes, repetitions=5, filters=filters)


@register(example=(3, 32, 32), parameters=658_586, source="He et al. 2015, section 4.2: ResNet-44")
def resnet44(channels: int = 3, classes: int = 10, *, filters: int = 16) -> nn.Module:
    """n = 7.

    Parameters: stem 464, stages 7 x 4,672, 13,952 + 6 x 18,560, 55,552 + 6 x 73,984, head 650.
    """
    return CifarResNet(channels, classes, repetitions=7, filters=filters)


@register(example=(3, 32, 32), parameters=853_018, source="He et al. 2015, section 4.2: ResNet-56")
def resnet56(channels: int = 3, classes: int = 10, *, filters: int = 16) -> nn.Module:
    """n = 9.

    Parameters: stem 464, stages 9 x 4,672, 13,952 + 8 x 18,560, 55,552 + 8 x 73,984, head 650.
    """
    return CifarResNet(channels, classes, repetitions=9, filters=filters)


@register(example=(3, 32, 32), parameters=1_727_962, source="He et al. 2015, section 4.2: ResNet-110")
def resnet110(channels: int = 3, classes: int = 10, *, filters: int = 16) -> nn.Module:
    """n = 18.

    Parameters: stem 464, stages 18 x 4,672, 13,952 + 17 x 18,560, 55,552 + 17 x 73,984, head 650.
    """
    return CifarResNet(channels, classes, repetitions=18, filters=filters)

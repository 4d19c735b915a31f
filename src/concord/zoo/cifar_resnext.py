"""ResNeXt-29 for small pictures: residual bottlenecks whose 3x3 convolution is split into groups.

Source: S. Xie, R. Girshick, P. Dollár, Z. Tu, K. He, "Aggregated Residual Transformations for Deep Neural
Networks", 2017, arXiv:1611.05431, section 5.3. Its table 7 gives 34.4M parameters for 8x64d and 68.1M for
16x64d. The grouped form is that of its figure 3(c).

Departures from the paper: none in the network. Two things it leaves open are settled here:
  * Shortcuts are projections where the sizes change; with padded ones 8x64d would have 33.8M parameters.
  * He's start is for the convolutions; the dense layer keeps PyTorch's.
"""

import torch.nn.functional as F
from torch import Tensor, nn

from concord.errors import UsageError
from concord.layers.pictures import require_pictures
from concord.layers.start import he_start
from concord.zoo.registry import register


def conv_norm(c_in: int, c_out: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Sequential:
    conv = nn.Conv2d(c_in, c_out, kernel, stride, padding=kernel // 2, groups=groups, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(c_out))


class Bottleneck(nn.Module):
    """relu(shortcut(x) + sum over C paths of expand(transform(reduce(x)))), the paths as groups of channels.

    Reduce and expand are 1x1 convolutions, transform is a 3x3 one that no path shares with another.

    Shape: (B, C_in, H, W) -> (B, C_out, ceil(H / stride), ceil(W / stride))
    """

    def __init__(self, c_in: int, c_out: int, width: int, cardinality: int, stride: int) -> None:
        super().__init__()
        inner = cardinality * width
        self.reduce = conv_norm(c_in, inner, 1)
        self.transform = conv_norm(inner, inner, 3, stride, cardinality)
        self.expand = conv_norm(inner, c_out, 1)
        self.shortcut = nn.Identity() if c_in == c_out else conv_norm(c_in, c_out, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.reduce(x), inplace=True)
        y = F.relu(self.transform(y), inplace=True)
        return F.relu(self.shortcut(x) + self.expand(y), inplace=True)


class CifarResNeXt(nn.Module):
    """A 3x3 convolution of 64 filters, three stages of 3 bottlenecks, a mean over the picture, a dense layer.

    The stages give 256, 512 and 1024 maps. The paths are ``width`` wide in the first stage; the second and
    the third halve both sides and double it.

    Shape: (B, C, H, W) -> (B, K) logits, for pictures of any size
    """

    def __init__(self, channels: int, classes: int, *, cardinality: int, width: int) -> None:
        if min(channels, classes, cardinality, width) < 1:
            raise UsageError("channels, classes, cardinality and width must be at least 1")
        super().__init__()
        self.stem = nn.Sequential(conv_norm(channels, 64, 3), nn.ReLU(inplace=True))
        self.stages = nn.Sequential()
        c_in = 64
        for stage in range(3):
            c_out, units = 256 * 2**stage, nn.Sequential()
            for unit in range(3):
                stride = 2 if stage and not unit else 1
                units.append(Bottleneck(c_in, c_out, width * 2**stage, cardinality, stride))
                c_in = c_out
            self.stages.append(units)
        self.head = nn.Linear(c_in, classes)
        self.channels = channels
        he_start(self)

    def forward(self, x: Tensor) -> Tensor:
        require_pictures(x, self.channels)
        x = self.stages(self.stem(x))
        return self.head(x.mean((2, 3)))  # (B, C, H, W) -> (B, C) -> (B, K)


@register(
    example=(3, 32, 32), parameters=34_426_698, source="Xie et al. 2017, section 5.3: ResNeXt-29, 8x64d"
)
def resnext29(channels: int = 3, classes: int = 10, *, cardinality: int = 8, width: int = 64) -> nn.Module:
    """``cardinality`` paths, each ``width`` wide: 8x64d if nothing else is said.

    Parameters: stem 1,856, stages 478,208 + 2 x 559,616, 2,103,296 + 2 x 2,233,344,
    8,400,896 + 2 x 8,923,136, head 10,250. A bottleneck from M to N maps with D = C d inside has
    D M + 9 D² / C + D N + 2 (2 D + N), and M N + 2 N more where it projects.
    """
    return CifarResNeXt(channels, classes, cardinality=cardinality, width=width)


@register(
    example=(3, 32, 32), parameters=68_155_210, source="Xie et al. 2017, section 5.3: ResNeXt-29, 16x64d"
)
def resnext29_16x64d(channels: int = 3, classes: int = 10) -> nn.Module:
    """16 paths, each 64 wide.

    Parameters: stem 1,856, stages 939,008 + 2 x 1,118,720, 4,073,472 + 2 x 4,465,664,
    16,273,408 + 2 x 17,844,224, head 10,250.
    """
    return CifarResNeXt(channels, classes, cardinality=16, width=64)

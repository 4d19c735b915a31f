"""Residual networks of bottlenecks: ResNeXt, and the ResNets that it was compared with.

Source: S. Xie, R. Girshick, P. Dollár, Z. Tu, K. He, "Aggregated Residual Transformations for Deep Neural
Networks", 2017, arXiv:1611.05431, tables 3 and 4; K. He, X. Zhang, S. Ren, J. Sun, "Deep Residual Learning
for Image Recognition", 2015, arXiv:1512.03385, table 1.

A bottleneck is 1x1, 3x3, 1x1. "32x4d" means that the 3x3 has 32 groups (the cardinality) of 4 channels in the
first stage; "1x64d" is a ResNet. Two rows of table 4 are torchvision's: resnet101 and resnext101_64x4d.

Departures from the papers:
  * ResNet-200 comes from K. He et al., "Identity Mappings in Deep Residual Networks", 2016, arXiv:1603.05027,
    with normalisation and ReLU before each convolution. Here they stand behind it, as in the other networks.
  * The stride is on the 3x3, as in ResNeXt; ``resnet50_2015`` alone has it on the first 1x1.
"""

from torch import Tensor, nn
from torchvision.models.resnet import Bottleneck, ResNet

from concord.errors import UsageError
from concord.layers.pictures import require_pictures
from concord.zoo.registry import register

EXAMPLE = (3, 224, 224)
DEPTH_50, DEPTH_101, DEPTH_200 = (3, 4, 6, 3), (3, 4, 23, 3), (3, 24, 36, 3)


class Bottleneck2015(Bottleneck):  # type: ignore[misc]  # torchvision has no types
    """The bottleneck of 2015, whose stride is on the first 1x1: three of four positions are never looked at.

    Shape: (B, C, H, W) -> (B, 4 planes, H / stride, W / stride)
    """

    def __init__(self, inplanes: int, planes: int, stride: int = 1, *args: object, **kwargs: object) -> None:
        super().__init__(inplanes, planes, stride, *args, **kwargs)
        self.conv1.stride, self.conv2.stride = self.conv2.stride, self.conv1.stride


class BottleneckNet(ResNet):  # type: ignore[misc]
    """torchvision's ResNet for any number of channels, with ``cardinality`` groups of ``width`` channels.

    Shape: (B, C, H, W) -> (B, K) logits; ShapeError for a picture without pixels
    """

    def __init__(
        self,
        channels: int,
        classes: int,
        depth: tuple[int, ...],
        *,
        cardinality: int = 1,
        width: int = 64,
        block: type[Bottleneck] = Bottleneck,
    ) -> None:
        if min(channels, classes, cardinality, width) < 1:
            raise UsageError("channels, classes, cardinality and width must be at least 1")
        super().__init__(block, depth, classes, groups=cardinality, width_per_group=width)
        self.channels = channels
        if channels != 3:
            self.conv1 = nn.Conv2d(channels, 64, 7, stride=2, padding=3, bias=False)
            nn.init.kaiming_normal_(self.conv1.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        require_pictures(x, self.channels)
        return super().forward(x)


@register(
    example=EXAMPLE, parameters=25_557_032, source="He et al. 2015, arXiv:1512.03385: stride on the first 1x1"
)
def resnet50_2015(channels: int = 3, classes: int = 1000) -> nn.Module:
    """ResNet-50 as first published, 5.7 % cheaper than with the stride on the 3x3.

    Parameters: stem 9,536, stages 215,808 + 1,219,584 + 7,098,368 + 14,964,736, dense 2,049,000.
    """
    return BottleneckNet(channels, classes, DEPTH_50, block=Bottleneck2015)


@register(
    example=EXAMPLE,
    parameters=25_028_904,
    source="Xie et al. 2017, arXiv:1611.05431, table 3: ResNeXt-50 (32x4d)",
)
def resnext50(channels: int = 3, classes: int = 1000, *, cardinality: int = 32, width: int = 4) -> nn.Module:
    """ResNeXt-50 of any cardinality and width: 1x64, 2x40, 4x24, 8x14 and 32x4 in the paper.

    Parameters: stem 9,536, stages 205,824 + 1,197,056 + 7,022,592 + 14,544,896, dense 2,049,000.
    """
    return BottleneckNet(channels, classes, DEPTH_50, cardinality=cardinality, width=width)


@register(
    example=EXAMPLE,
    parameters=44_177_704,
    source="Xie et al. 2017, arXiv:1611.05431, table 3: ResNeXt-101 (32x4d)",
)
def resnext101(channels: int = 3, classes: int = 1000, *, cardinality: int = 32, width: int = 4) -> nn.Module:
    """ResNeXt-101 of any cardinality and width: 1x64, 2x40, 4x24, 8x14 and 32x4 in the paper.

    Parameters: stem 9,536, stages 205,824 + 1,197,056 + 26,171,392 + 14,544,896, dense 2,049,000.
    """
    return BottleneckNet(channels, classes, DEPTH_101, cardinality=cardinality, width=width)


@register(
    example=EXAMPLE,
    parameters=44_177_704,
    source="Xie et al. 2017, arXiv:1611.05431, table 4: ResNeXt-101 (32x4d)",
)
def resnext101_32x4d(channels: int = 3, classes: int = 1000) -> nn.Module:
    """The row "ResNeXt-101, 32x4d", of the same complexity as ResNet-101.

    Parameters: those of ``resnext101``.
    """
    return BottleneckNet(channels, classes, DEPTH_101, cardinality=32, width=4)


@register(
    example=EXAMPLE,
    parameters=64_673_832,
    source="Xie et al. 2017, arXiv:1611.05431, table 4: ResNet-200 (1x64d)",
)
def resnet200(channels: int = 3, classes: int = 1000) -> nn.Module:
    """The row "ResNet-200", twice as deep as ResNet-101.

    Parameters: stem 9,536, stages 215,808 + 6,820,864 + 40,613,888 + 14,964,736, dense 2,049,000.
    """
    return BottleneckNet(channels, classes, DEPTH_200)


@register(
    example=EXAMPLE,
    parameters=85_611_336,
    source="Xie et al. 2017, arXiv:1611.05431, table 4: ResNet-101 (1x100d)",
)
def resnet101_1x100d(channels: int = 3, classes: int = 1000) -> nn.Module:
    """The row "ResNet-101, wider".

    Parameters: stem 9,536, stages 424,032 + 2,347,392 + 52,367,040 + 28,414,336, dense 2,049,000.
    """
    return BottleneckNet(channels, classes, DEPTH_101, width=100)


@register(
    example=EXAMPLE,
    parameters=84_198_184,
    source="Xie et al. 2017, arXiv:1611.05431, table 4: ResNeXt-101 (2x64d)",
)
def resnext101_2x64d(channels: int = 3, classes: int = 1000) -> nn.Module:
    """The row "ResNeXt-101, 2x64d".

    Parameters: stem 9,536, stages 413,184 + 2,302,976 + 51,607,552 + 27,815,936, dense 2,049,000.
    """
    return BottleneckNet(channels, classes, DEPTH_101, cardinality=2, width=64)

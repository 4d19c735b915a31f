"""MobileNet, built from depthwise separable convolutions.

Source: A. G. Howard et al., "MobileNets: Efficient Convolutional Neural Networks for Mobile Vision
Applications", 2017, arXiv:1704.04861, section 3.

The two multipliers: ``width`` is alpha in percent, and every layer has floor(alpha N) filters. The resolution
multiplier rho is no part of the network, which takes pictures of any size: rho = side / 224, so rho = 4/7 is
this network given 128x128.

Departures from the paper:
  * The last depthwise convolution has stride 1. Table 1 prints stride 2, but gives 7x7 before and after it.
  * Padding is 1 on every side; the authors' code pads an even side at its end only. The costs are the same.
  * ReLU, as the paper says; the authors' code, and timm's ``mobilenetv1_100``, cut it off at 6.
  * Weights start as torch's default; the paper names no start.
"""

from torch import Tensor, nn

from concord.errors import UsageError
from concord.layers.pictures import require_pictures
from concord.zoo.registry import register

# (filters, stride) of the 13 separable convolutions.
BLOCKS = (
    *((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2)),
    *((512, 1), (512, 1), (512, 1), (512, 1), (512, 1), (1024, 2), (1024, 1)),
)


def convolution(channels: int, filters: int, kernel_size: int, stride: int = 1, groups: int = 1) -> nn.Module:
    """Convolution, normalisation, ReLU. Shape: (B, M, H, W) -> (B, N, ceil(H / stride), ceil(W / stride))"""
    return nn.Sequential(
        nn.Conv2d(channels, filters, kernel_size, stride, kernel_size // 2, groups=groups, bias=False),
        nn.BatchNorm2d(filters),
        nn.ReLU(inplace=True),
    )


class MobileNetV1(nn.Module):
    """A 3x3 convolution, 13 separable ones, the mean over the picture, a dense layer.

    Five steps of stride 2 make maps of ceil(H / 32) x ceil(W / 32), so 32x32 pictures end in 1x1, and smaller
    ones, down to 1x1, do too: the last layers then see nothing but the padding around one pixel.

    Shape: (B, C, H, W) -> (B, K) logits; ShapeError for a picture without pixels
    """

    def __init__(self, channels: int, classes: int, *, width: int = 100) -> None:
        if min(channels, classes) < 1:
            raise UsageError("channels and classes must be at least 1")
        if 32 * width < 100:
            raise UsageError(f"width is a percentage, at least 4, or no filter is left; got {width}")
        super().__init__()
        filters = [n * width // 100 for n in (32, *(n for n, _ in BLOCKS))]
        self.features = nn.Sequential(convolution(channels, filters[0], 3, stride=2))
        for before, after, (_, stride) in zip(filters[:-1], filters[1:], BLOCKS, strict=True):
            self.features.append(convolution(before, before, 3, stride, groups=before))
            self.features.append(convolution(before, after, 1))
        self.head = nn.Linear(filters[-1], classes)
        self.channels = channels

    def forward(self, x: Tensor) -> Tensor:
        require_pictures(x, self.channels)
        return self.head(self.features(x).mean((2, 3)))  # (B, N, H/32, W/32) -> (B, N) -> (B, K)


@register(
    example=(3, 224, 224),
    parameters=4_231_976,
    source="Howard et al. 2017, arXiv:1704.04861, table 1: MobileNet",
)
def mobilenet_v1(channels: int = 3, classes: int = 1000, *, width: int = 100) -> nn.Module:
    """MobileNet of ``width`` percent: 100, 75, 50 and 25 in the paper.

    Parameters: convolutions 864 + 44,640 (depthwise) + 3,139,584 (pointwise), normalisation 21,888,
    dense 1,025,000.
    """
    return MobileNetV1(channels, classes, width=width)

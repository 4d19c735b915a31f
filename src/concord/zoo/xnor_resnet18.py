"""ResNet-18 with a real-valued shortcut around every binary convolution: Bi-Real Net.

Source: Z. Liu, B. Wu, W. Luo, X. Yang, W. Liu, K.-T. Cheng, "Bi-Real Net", ECCV 2018, arXiv:1808.00278,
section 3, and the authors' code (liuzechun/Bi-Real-net, birealnet.py). 56.4 % top-1 accuracy on ImageNet.

The first convolution, the 1x1 convolutions of shortcuts that halve the map, and the classifier are float.

Departures:
  * Latent weights get the derivative through alpha too; the authors' code takes alpha for a constant.
  * Weights start as He's; theirs are above 0, because networks with float weights are trained first.
  * The average of a shortcut takes in the last row and column of maps with odd sides.
  * ``bwn_resnet18`` is the same network with ReLU in place of the sign. BWN's own ResNet-18 has the order of
    He et al. 2015.
"""

import torch.fx
from torch import Tensor, nn

from concord.errors import UsageError
from concord.layers.binary.convolution import BWNConv2d, XNORConv2d
from concord.layers.pictures import require_pictures
from concord.layers.start import he_start
from concord.zoo.registry import register

torch.fx.wrap("require_pictures")  # symbolic tracing keeps the check as one step

WIDTHS = (64, 128, 256, 512)
UNITS = 4  # binary convolutions in each stage


def shortcut(c_in: int, c_out: int) -> nn.Module:
    """The identity, or where the map is halved norm(conv1x1(average of 2x2))."""
    if c_in == c_out:
        return nn.Identity()
    return nn.Sequential(
        nn.AvgPool2d(2, ceil_mode=True), nn.Conv2d(c_in, c_out, 1, bias=False), nn.BatchNorm2d(c_out)
    )


class XNORUnit(nn.Module):
    """shortcut(x) + norm(conv(sign(x))); the map is halved where the width grows.

    Shape: (B, C_in, H, W) -> (B, C_out, ceil(H / s), ceil(W / s)), s = 1 or 2
    """

    def __init__(self, c_in: int, c_out: int) -> None:
        super().__init__()
        stride = 1 if c_in == c_out else 2
        self.conv = XNORConv2d(c_in, c_out, 3, stride, padding=1, bias=False, estimator="polynomial")
        self.norm = nn.BatchNorm2d(c_out)
        self.shortcut = shortcut(c_in, c_out)

    def forward(self, x: Tensor) -> Tensor:
        return self.shortcut(x) + self.norm(self.conv(x))


class BWNUnit(nn.Module):
    """shortcut(x) + norm(conv(relu(x))), with the shapes of ``XNORUnit``."""

    def __init__(self, c_in: int, c_out: int) -> None:
        super().__init__()
        self.active = nn.ReLU()
        self.conv = BWNConv2d(c_in, c_out, 3, 1 if c_in == c_out else 2, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(c_out)
        self.shortcut = shortcut(c_in, c_out)

    def forward(self, x: Tensor) -> Tensor:
        return self.shortcut(x) + self.norm(self.conv(self.active(x)))


class BiRealNet18(nn.Module):
    """A float 7x7 convolution, four stages of four units, a mean over the map, a dense layer.

    Shape: (B, C, H, W) -> (B, K) logits, for pictures of any size
    """

    def __init__(self, channels: int, classes: int, unit: type[XNORUnit] | type[BWNUnit]) -> None:
        if min(channels, classes) < 1:
            raise UsageError("channels and classes must be at least 1")
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(channels, WIDTHS[0], 7, 2, padding=3, bias=False),
            nn.BatchNorm2d(WIDTHS[0]),
            nn.MaxPool2d(3, 2, padding=1),  # (B, 64, 56, 56)
        )
        self.stages = nn.Sequential()
        c_in = WIDTHS[0]
        for width in WIDTHS:
            self.stages.append(
                nn.Sequential(unit(c_in, width), *(unit(width, width) for _ in range(UNITS - 1)))
            )
            c_in = width
        self.head = nn.Linear(c_in, classes)
        self.channels = channels
        he_start(self)

    def forward(self, x: Tensor) -> Tensor:
        require_pictures(x, self.channels)
        x = self.stages(self.stem(x))
        return self.head(x.mean((2, 3)))  # (B, C, H, W) -> (B, C) -> (B, K)


@register(
    example=(3, 224, 224),
    parameters=11_689_512,
    source="Liu et al. 2018: Bi-Real Net of 18 layers, binary weights and inputs",
)
def xnor_resnet18(channels: int = 3, classes: int = 1000) -> nn.Module:
    """Parameters as those of ResNet-18.

    Stem 9,536, stages 4 x 36,992, 82,432 + 3 x 147,712, 328,704 + 3 x 590,336, 1,312,768 + 3 x 2,360,320,
    head 513,000.
    """
    return BiRealNet18(channels, classes, XNORUnit)


@register(
    example=(3, 224, 224),
    parameters=11_689_512,
    source="Liu et al. 2018: Bi-Real Net of 18 layers, with binary weights and ReLU",
)
def bwn_resnet18(channels: int = 3, classes: int = 1000) -> nn.Module:
    """Parameters as in ``xnor_resnet18``."""
    return BiRealNet18(channels, classes, BWNUnit)

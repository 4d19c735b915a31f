"""Densely connected networks for small pictures: DenseNet-40-12 and DenseNet-BC-100-12.

Source: G. Huang, Z. Liu, L. van der Maaten, K. Q. Weinberger, "Densely Connected Convolutional Networks",
2016, arXiv:1608.06993, sections 3 and 4. Table 2 gives 1.0M and 0.8M parameters.

Departures from the paper: none in the network. Three things it leaves open are settled here:
  * As in the authors' code a transition has a ReLU between its normalisation and its convolution, and
    normalisation and ReLU stand between the last block and the mean.
  * An odd side loses its last row or column in a transition.
  * He's start is for the convolutions; the dense layer keeps PyTorch's.
"""

import torch
from torch import Tensor, nn

from concord.errors import UsageError
from concord.layers.pictures import require_pictures
from concord.layers.start import he_start
from concord.zoo.registry import register


def composite(c_in: int, c_out: int, kernel: int, dropout: int) -> nn.Sequential:
    """dropout(conv(relu(norm(x)))), the sides kept."""
    return nn.Sequential(
        nn.BatchNorm2d(c_in),
        nn.ReLU(inplace=True),
        nn.Conv2d(c_in, c_out, kernel, padding=kernel // 2, bias=False),
        nn.Dropout(dropout / 100),
    )


class DenseLayer(nn.Module):
    """[x, f(x)]: ``growth`` new maps behind all earlier ones; with a bottleneck through 4 ``growth`` maps.

    Shape: (B, C, H, W) -> (B, C + growth, H, W)
    """

    def __init__(self, c_in: int, growth: int, dropout: int, *, bottleneck: bool) -> None:
        super().__init__()
        self.new = nn.Sequential()
        if bottleneck:
            self.new.append(composite(c_in, 4 * growth, 1, dropout))
            c_in = 4 * growth
        self.new.append(composite(c_in, growth, 3, dropout))

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat((x, self.new(x)), 1)


class CifarDenseNet(nn.Module):
    """A convolution, three dense blocks with transitions between them, an activation, a mean, a dense layer.

    Without bottlenecks: 16 filters first, 3n + 4 layers, transitions that keep the number of maps. With
    them ("BC"): 2 ``growth`` filters first, 6n + 4 layers, transitions that halve it. Every transition also
    halves both sides.

    Shape: (B, C, H, W) -> (B, K) logits; ShapeError unless H and W are at least 4
    """

    def __init__(
        self, channels: int, classes: int, *, depth: int, growth: int, dropout: int = 0, bottleneck: bool
    ) -> None:
        _refuse_sizes(channels, classes, depth, growth, dropout, per_layer=6 if bottleneck else 3)
        super().__init__()
        width = 2 * growth if bottleneck else 16
        self.stem = nn.Conv2d(channels, width, 3, padding=1, bias=False)
        self.blocks = nn.Sequential()
        for block in range(3):
            if block:
                kept = width // 2 if bottleneck else width
                self.blocks.append(nn.Sequential(composite(width, kept, 1, dropout), nn.AvgPool2d(2)))
                width = kept
            for _ in range((depth - 4) // (6 if bottleneck else 3)):
                self.blocks.append(DenseLayer(width, growth, dropout, bottleneck=bottleneck))
                width += growth
        self.last = nn.Sequential(nn.BatchNorm2d(width), nn.ReLU(inplace=True))
        self.head = nn.Linear(width, classes)
        self.channels = channels
        he_start(self)

    def forward(self, x: Tensor) -> Tensor:
        require_pictures(x, self.channels, smallest=4)
        x = self.last(self.blocks(self.stem(x)))
        return self.head(x.mean((2, 3)))  # (B, C, H, W) -> (B, C) -> (B, K)


def _refuse_sizes(
    channels: int, classes: int, depth: int, growth: int, dropout: int, *, per_layer: int
) -> None:
    if min(channels, classes, growth) < 1:
        raise UsageError("channels, classes and growth must be at least 1")
    if depth < 4 + per_layer or (depth - 4) % per_layer:
        first = ", ".join(str(4 + per_layer * n) for n in range(1, 5))
        raise UsageError(f"depth must be {per_layer} n + 4 ({first}, ...), got {depth}")
    if not 0 <= dropout < 100:
        raise UsageError(f"dropout is a percentage from 0 to 99, got {dropout}")


@register(
    example=(3, 32, 32), parameters=1_019_722, source="Huang et al. 2016, table 2: DenseNet (L=40, k=12)"
)
def densenet40_12(
    channels: int = 3, classes: int = 10, *, depth: int = 40, growth: int = 12, dropout: int = 0
) -> nn.Module:
    """12 layers in each block, without bottlenecks; ``dropout`` in percent, 20 in the paper's runs without
    augmentation.

    Parameters: stem 432, blocks 108,240 + 298,320 + 488,400, transitions 25,920 + 93,024, last norm 896,
    head 4,490. A layer that reads C maps has 110 C: 2 C in its norm, 9 C 12 in its kernel.
    """
    return CifarDenseNet(channels, classes, depth=depth, growth=growth, dropout=dropout, bottleneck=False)


@register(
    example=(3, 32, 32), parameters=769_162, source="Huang et al. 2016, table 2: DenseNet-BC (L=100, k=12)"
)
def densenet_bc100_12(
    channels: int = 3, classes: int = 10, *, depth: int = 100, growth: int = 12, dropout: int = 0
) -> nn.Module:
    """16 layers of two convolutions in each block; ``dropout`` in percent, 20 in the paper's runs without
    augmentation.

    Parameters: stem 648, blocks 175,680 + 242,880 + 276,480, transitions 23,760 + 45,600, last norm 684,
    head 3,430. A layer that reads C maps has 50 C + 5,280: 2 C + 48 C, then 96 + 9 48 12.
    """
    return CifarDenseNet(channels, classes, depth=depth, growth=growth, dropout=dropout, bottleneck=True)

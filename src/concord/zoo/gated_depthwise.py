"""A network of gated depthwise blocks that reaches 94.4 % on CIFAR-10 with 97,530 parameters.

Source: github.com/xvel/cifar10-tiniest, 2025, README and model.py: "Tiniest Convolutional Network"; it has
no paper. Its recipe: AdamW at 0.02 with warm-up and a cosine down to 0.002 over 200 epochs of batches of 256,
a moving average of the weights (0.999), mixup, rotation, colour.

Departures from the code, which is its author's:
  * The exponent of the gate is cut off at 10, where tanh(exp(x)) is 1 in float32 from 2.3 on. Without the cut
    exp overflows above 88 and the gradient is 0 times infinity, which is not a number.
  * Widths other than 48: the second stage is 5/3 as wide, and its reduction has width / 3 groups, as there.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from concord.errors import UsageError
from concord.layers.pictures import require_pictures
from concord.zoo.registry import register

LARGEST_EXPONENT = 10.0  # exp(10) = 22,026, and tanh of that is 1


class ChannelNorm(nn.LayerNorm):
    """Layer normalisation over the channels of every pixel. Shape: (B, C, H, W) -> (B, C, H, W)"""

    def forward(self, input: Tensor) -> Tensor:
        return super().forward(input.movedim(1, -1)).movedim(-1, 1)


def gate(x: Tensor) -> Tensor:
    """tanh(exp(x)) x, a smooth ReLU: near x where x > 1, and near 0 where x is far below 0."""
    return torch.tanh(torch.exp(x.clamp(max=LARGEST_EXPONENT))) * x


class Block(nn.Module):
    """A quarter of the channels as it is, one in each of three depthwise convolutions, then a gated MLP.

        y = (x_1, conv3(x_2), conv7(x_3), conv7 with dilation 3 (mean3(x_4)))
        scale x + W_2 (gate(u) v)        with (u, v) = W_1 norm(y)

    Shape: (B, C, H, W) -> (B, C, H, W)
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        part = width // 4
        self.near = nn.Conv2d(part, part, 3, padding=1, groups=part)
        self.wide = nn.Conv2d(part, part, 7, padding=3, groups=part)
        self.far = nn.Conv2d(part, part, 7, padding=9, dilation=3, groups=part)
        self.norm = ChannelNorm(width)
        self.expand = nn.Conv2d(width, 2 * width, 1)
        self.reduce = nn.Conv2d(width, width, 1)
        self.scale = nn.Parameter(torch.ones(1, width, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        same, second, third, fourth = x.chunk(4, 1)  # (B, C/4, H, W) each
        mean = F.avg_pool2d(fourth, 3, stride=1, padding=1)
        y = torch.cat([same, self.near(second), self.wide(third), self.far(mean)], 1)
        u, v = self.expand(self.norm(y)).chunk(2, 1)
        return self.reduce(gate(u) * v) + self.scale * x


class GatedDepthwise(nn.Module):
    """A convolution, blocks, a grouped convolution that halves the sides, blocks, a mean, a dense layer.

    Shape: (B, C, H, W) -> (B, K) logits, for pictures of 2x2 pixels or more
    """

    def __init__(self, channels: int, classes: int, *, width: int = 48, depth: int = 3) -> None:
        if min(channels, classes, depth) < 1:
            raise UsageError("channels, classes and depth must be at least 1")
        if width < 12 or width % 12:
            raise UsageError(
                f"width must be a multiple of 12, so that quarters and thirds are whole; got {width}"
            )
        super().__init__()
        wide = width * 5 // 3
        self.stem = nn.Sequential(nn.Conv2d(channels, width, 3, padding=1), ChannelNorm(width))
        self.fine = nn.Sequential(*(Block(width) for _ in range(depth)))
        halved = nn.Conv2d(width, wide, 4, stride=2, padding=1, groups=width // 3)
        self.reduction = nn.Sequential(halved, ChannelNorm(wide))
        self.coarse = nn.Sequential(*(Block(wide) for _ in range(depth)))
        self.head = nn.Linear(wide, classes)
        self.channels = channels

    def forward(self, x: Tensor) -> Tensor:
        require_pictures(x, self.channels, 2)
        x = self.coarse(self.reduction(self.fine(self.stem(x))))
        return self.head(x.mean((2, 3)))  # (B, C, H, W) -> (B, C) -> (B, K)


@register(
    example=(3, 32, 32),
    parameters=97_530,
    source="github.com/xvel/cifar10-tiniest, 2025: 94.4 % on CIFAR-10",
)
def gated_depthwise(channels: int = 3, classes: int = 10, *, width: int = 48, depth: int = 3) -> nn.Module:
    """``depth`` blocks of ``width`` channels, then as many of 5/3 of that.

    Parameters: stem 1,344 + 96, blocks 3 x 8,520 and 3 x 21,880, reduction 3,920 + 160, head 810.
    """
    return GatedDepthwise(channels, classes, width=width, depth=depth)

"""LeNet-5, the network that read bank cheques.

Source: Y. LeCun, L. Bottou, Y. Bengio, P. Haffner, "Gradient-Based Learning Applied to Document Recognition",
Proceedings of the IEEE 86(11), 1998, section II.B; the start of the weights in appendix A.

Departures from the paper:
  * The output is a linear layer of 84 K + K parameters. The paper compares F6 with one fixed 7x12 drawing of
    each character (radial basis functions), and there are drawings of characters only. Everything before it
    has the paper's 60,000 parameters.
  * 28x28 pictures are widened to 32x32 here, not in the data. The edge is repeated, so that the frame has the
    colour of the background (-0.1 in the paper) however the pixels were scaled.
  * Biases start like the weights of their unit; the paper does not mention them.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from concord.errors import ShapeError, UsageError
from concord.layers.pictures import require_pictures
from concord.zoo.registry import register

# Table I: the maps of S2 that each map of C3 reads.
C3_READS = (
    *((0, 1, 2), (1, 2, 3), (2, 3, 4), (3, 4, 5), (0, 4, 5), (0, 1, 5)),
    *((0, 1, 2, 3), (1, 2, 3, 4), (2, 3, 4, 5), (0, 3, 4, 5), (0, 1, 4, 5), (0, 1, 2, 5)),
    *((0, 1, 3, 4), (1, 2, 4, 5), (0, 2, 3, 5), (0, 1, 2, 3, 4, 5)),
)


def squash(a: Tensor) -> Tensor:
    """1.7159 tanh(2a / 3), which takes 1 to 1 and -1 to -1."""
    return 1.7159 * torch.tanh(2 / 3 * a)


class Subsampling(nn.Module):
    """Sums of 2x2 inputs, one coefficient and one bias for each map: y = w (x1 + x2 + x3 + x4) + b.

    Shape: (B, C, H, W) -> (B, C, H/2, W/2)
    """

    def __init__(self, maps: int) -> None:
        super().__init__()
        # 2.4 / fan-in = 0.6
        self.weight = nn.Parameter(torch.empty(maps).uniform_(-0.6, 0.6))
        self.bias = nn.Parameter(torch.empty(maps).uniform_(-0.6, 0.6))

    def forward(self, x: Tensor) -> Tensor:
        weight, bias = self.weight.view(-1, 1, 1), self.bias.view(-1, 1, 1)
        return weight * (4 * F.avg_pool2d(x, 2)) + bias


class PartialConv2d(nn.Module):
    """The 5x5 convolution C3, in which each of 16 maps reads 3, 4 or 6 of the 6 maps given.

    Every given map is read by 10 others, so one grouped convolution makes all 60 products, and 3, 4 or 6 of
    them are summed for each map: 60 x 25 weights and not one multiplication by zero.

    Shape: (B, 6, H, W) -> (B, 16, H - 4, W - 4)
    """

    order: Tensor

    def __init__(self) -> None:
        super().__init__()
        readers = [to for given in range(6) for to, reads in enumerate(C3_READS) if given in reads]
        fan_in = torch.tensor([25.0 * len(reads) for reads in C3_READS])
        bound = 2.4 / fan_in
        self.products = nn.Conv2d(6, 60, 5, groups=6, bias=False)
        nn.init.uniform_(self.products.weight, -1, 1)
        with torch.no_grad():
            self.products.weight *= bound[readers].view(60, 1, 1, 1)
        self.bias = nn.Parameter(bound * torch.empty(16).uniform_(-1, 1))
        order = sorted(range(60), key=readers.__getitem__)  # what one map sums stands side by side
        self.register_buffer("order", torch.tensor(order), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        threes, fours, six = self.products(x)[:, self.order].split((18, 36, 6), dim=1)
        sums = [part.unflatten(1, (-1, n)).sum(2) for part, n in ((threes, 3), (fours, 4), (six, 6))]
        return torch.cat(sums, 1) + self.bias.view(16, 1, 1)


class LeNet5(nn.Module):
    """Two convolutions with a subsampling after each, two layers that see everything, and the output.

    Shape: (B, C, 28, 28) or (B, C, 32, 32) -> (B, K) logits; ShapeError for pictures of another size
    """

    def __init__(self, channels: int, classes: int) -> None:
        if min(channels, classes) < 1:
            raise UsageError("channels and classes must be at least 1")
        super().__init__()
        self.c1 = nn.Conv2d(channels, 6, 5)
        self.s2 = Subsampling(6)
        self.c3 = PartialConv2d()
        self.s4 = Subsampling(16)
        self.c5 = nn.Conv2d(16, 120, 5)
        self.f6 = nn.Linear(120, 84)
        self.output = nn.Linear(84, classes)
        self.channels = channels
        for layer in (self.c1, self.c5, self.f6, self.output):
            bound = 2.4 / layer.weight[0].numel()
            for numbers in layer.parameters():
                nn.init.uniform_(numbers, -bound, bound)

    def forward(self, x: Tensor) -> Tensor:
        require_pictures(x, self.channels)
        if x.shape[2:] not in ((28, 28), (32, 32)):
            raise ShapeError(
                f"height and width must be 28 or 32, got {x.shape[2]}x{x.shape[3]}; resize the pictures"
            )
        if x.shape[2] == 28:
            x = F.pad(x, (2, 2, 2, 2), mode="replicate")  # (B, C, 32, 32)
        x = squash(self.s2(squash(self.c1(x))))  # (B, 6, 14, 14)
        x = squash(self.s4(squash(self.c3(x))))  # (B, 16, 5, 5)
        x = squash(self.c5(x)).flatten(1)  # (B, 120)
        return self.output(squash(self.f6(x)))


@register(
    example=(1, 28, 28),
    parameters=60_850,
    source="LeCun, Bottou, Bengio, Haffner 1998, section II.B: LeNet-5",
)
def lenet5(channels: int = 1, classes: int = 10) -> nn.Module:
    """The paper's network, 60,000 parameters and a linear output.

    Parameters: C1 156, S2 12, C3 1,516 (60 x 25 + 16), S4 32, C5 48,120, F6 10,164, output 850.
    """
    return LeNet5(channels, classes)

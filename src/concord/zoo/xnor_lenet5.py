"""The LeNet of 20 and 50 maps with a binary second convolution and a binary dense layer, for 28x28 images.

Source: M. Rastegari, V. Ordonez, J. Redmon, A. Farhadi, "XNOR-Net", 2016, arXiv:1603.05279, with the sizes of
jiecaoyu/XNOR-Net-PyTorch, MNIST/models/LeNet_5.py (Caffe's LeNet, a larger network than that of 1998).

The first convolution and the last dense layer are float.

Departures from that code:
  * ReLU does not stand behind binary layers, but behind normalisations in float, as in the authors' AlexNet.
  * Normalisations have the eps of torch; all of them scale and shift, and the scales may be negative.
"""

import torch.fx
from torch import Tensor, nn

from concord.errors import ShapeError, UsageError
from concord.layers.binary.convolution import BWNConv2d, XNORConv2d
from concord.layers.binary.dense import BWNLinear, XNORLinear
from concord.layers.pictures import require_pictures
from concord.zoo.registry import register

SIDE = 28


def require_28x28(x: Tensor, channels: int) -> None:
    """ShapeError unless x is (B, channels, 28, 28)."""
    require_pictures(x, channels)
    if tuple(x.shape[2:]) != (SIDE, SIDE):
        raise ShapeError(
            f"height and width must be {SIDE}, got {x.shape[2]}x{x.shape[3]}; resize the pictures"
        )


torch.fx.wrap("require_28x28")  # symbolic tracing keeps the check as one step


class BinaryLeNet5(nn.Module):
    """A float convolution, binary layers, a float dense layer.

    Shape: (B, C, 28, 28) -> (B, K) logits; ShapeError for pictures of another size
    """

    def __init__(self, channels: int, classes: int, binary: nn.Sequential) -> None:
        if min(channels, classes) < 1:
            raise UsageError("channels and classes must be at least 1")
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(channels, 20, 5),
            nn.BatchNorm2d(20),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(2),  # (B, 20, 12, 12)
        )
        self.binary = binary  # (B, 500)
        self.head = nn.Linear(500, classes)
        self.channels = channels

    def forward(self, x: Tensor) -> Tensor:
        require_28x28(x, self.channels)
        return self.head(self.binary(self.stem(x)))


@register(
    example=(1, 28, 28),
    parameters=433_760,
    source="Rastegari et al. 2016: LeNet of 20 and 50 maps with binary weights and inputs",
)
def xnor_lenet5(channels: int = 1, classes: int = 10) -> nn.Module:
    """Batch normalisation, sign, binary layer, pooling.

    Parameters: convolutions 520 + 25,050, dense layers 400,500 + 5,010, normalisations 40 + 40 + 1,600
    + 1,000.
    """
    binary = nn.Sequential(
        nn.BatchNorm2d(20),
        XNORConv2d(20, 50, 5),
        nn.MaxPool2d(2),
        nn.Flatten(),  # (B, 800)
        nn.BatchNorm1d(800),
        XNORLinear(800, 500),
        nn.BatchNorm1d(500),
        nn.ReLU(inplace=True),
    )
    return BinaryLeNet5(channels, classes, binary)


@register(
    example=(1, 28, 28),
    parameters=432_220,
    source="Rastegari et al. 2016: LeNet of 20 and 50 maps with binary weights",
)
def bwn_lenet5(channels: int = 1, classes: int = 10) -> nn.Module:
    """Binary layer, batch normalisation, ReLU, pooling.

    Parameters: convolutions 520 + 25,050, dense layers 400,500 + 5,010, normalisations 40 + 100 + 1,000.
    """
    binary = nn.Sequential(
        BWNConv2d(20, 50, 5),
        nn.BatchNorm2d(50),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(2),
        nn.Flatten(),  # (B, 800)
        BWNLinear(800, 500),
        nn.BatchNorm1d(500),
        nn.ReLU(inplace=True),
    )
    return BinaryLeNet5(channels, classes, binary)


@register(
    example=(1, 28, 28),
    parameters=432_220,
    source="Rastegari et al. 2016: LeNet of 20 and 50 maps in floats",
)
def float_lenet5(channels: int = 1, classes: int = 10) -> nn.Module:
    """The layers of ``bwn_lenet5`` with float weights."""
    layers = nn.Sequential(
        nn.Conv2d(20, 50, 5),
        nn.BatchNorm2d(50),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(2),
        nn.Flatten(),  # (B, 800)
        nn.Linear(800, 500),
        nn.BatchNorm1d(500),
        nn.ReLU(inplace=True),
    )
    return BinaryLeNet5(channels, classes, layers)

"""AlexNet in one tower with binary convolutions: XNOR-Net and BWN as their authors trained them.

Source: M. Rastegari, V. Ordonez, J. Redmon, A. Farhadi, "XNOR-Net", 2016, arXiv:1603.05279, section 4, and
the authors' code (allenai/XNOR-Net, models/alexnetxnor.lua and models/alexnet.lua): sizes, biases, eps and
start. Top-1 accuracy there on ImageNet: BWN 56.8 % and XNOR-Net 44.2 % in the paper, 56.8 % and 43.3 % with
the weights that were published.

The first convolution and the classifier are float. Fully connected layers are convolutions, 6x6 and 1x1.

Departures: logits in place of log-softmax. What the code does to gradients and weights besides the paper is
left out, see ``layers.binary.weights``; as in the code, inputs have no scales K.
"""

import torch.fx
from torch import Tensor, nn

from concord.errors import UsageError
from concord.layers.binary.convolution import BWNConv2d, XNORConv2d
from concord.layers.start import he_start
from concord.zoo.alexnet import require_alexnet_pictures
from concord.zoo.registry import register

torch.fx.wrap("require_alexnet_pictures")  # symbolic tracing keeps the check as one step

# input and output channels, kernel, padding, whether 3x3 pooling follows
BINARY = (
    (96, 256, 5, 2, True),
    (256, 384, 3, 1, False),
    (384, 384, 3, 1, False),
    (384, 256, 3, 1, True),
    (256, 4096, 6, 0, False),
    (4096, 4096, 1, 0, False),
)


def pooled(*layers: nn.Module, pool: bool) -> nn.Sequential:
    return nn.Sequential(*layers, *([nn.MaxPool2d(3, 2)] if pool else []))


def xnor_block(c_in: int, c_out: int, kernel: int, padding: int, pool: bool) -> nn.Sequential:
    """pool(conv(sign(norm(x))))"""
    norm = nn.BatchNorm2d(c_in, eps=1e-4)
    return pooled(norm, XNORConv2d(c_in, c_out, kernel, padding=padding), pool=pool)


def bwn_block(c_in: int, c_out: int, kernel: int, padding: int, pool: bool) -> nn.Sequential:
    """pool(relu(norm(conv(x))))"""
    conv, norm = BWNConv2d(c_in, c_out, kernel, padding=padding), nn.BatchNorm2d(c_out, eps=1e-3)
    return pooled(conv, norm, nn.ReLU(inplace=True), pool=pool)


class BinaryAlexNet(nn.Module):
    """A float convolution, six binary ones, a float classifier.

    Shape: (B, C, 224, 224) -> (B, K) logits; ShapeError unless H and W are 223 to 230
    """

    def __init__(self, channels: int, stem_eps: float, blocks: nn.Sequential, head: nn.Sequential) -> None:
        super().__init__()
        first, norm = nn.Conv2d(channels, 96, 11, stride=4, padding=2), nn.BatchNorm2d(96, eps=stem_eps)
        self.stem = pooled(first, norm, nn.ReLU(inplace=True), pool=True)  # (B, 96, 27, 27)
        self.blocks = blocks  # (B, 4096, 1, 1)
        self.head = head
        self.channels = channels
        he_start(self)

    def forward(self, x: Tensor) -> Tensor:
        require_alexnet_pictures(x, self.channels)
        return self.head(self.blocks(self.stem(x))).flatten(1)


def classifier(channels: int, classes: int) -> nn.Conv2d:
    """The last layer; UsageError if the network has no channels or no classes."""
    if min(channels, classes) < 1:
        raise UsageError("channels and classes must be at least 1")
    return nn.Conv2d(4096, classes, 1)


@register(
    example=(3, 224, 224),
    parameters=62_397_672,
    source="Rastegari et al. 2016, allenai/XNOR-Net: AlexNet with binary weights and inputs",
)
def xnor_alexnet(channels: int = 3, classes: int = 1000) -> nn.Module:
    """Batch normalisation, sign, binary convolution, pooling; ReLU before the classifier alone.

    Parameters: convolutions 34,944 + 614,656 + 885,120 + 1,327,488 + 884,992 + 37,752,832 + 16,781,312
    + 4,097,000; normalisations 192 + 192 + 512 + 768 + 768 + 512 + 8,192 + 8,192.
    """
    last = classifier(channels, classes)
    head = nn.Sequential(nn.BatchNorm2d(4096, eps=1e-3), nn.ReLU(inplace=True), last)
    return BinaryAlexNet(channels, 1e-5, nn.Sequential(*(xnor_block(*sizes) for sizes in BINARY)), head)


@register(
    example=(3, 224, 224),
    parameters=62_397_480,
    source="Rastegari et al. 2016, allenai/XNOR-Net: AlexNet with binary weights",
)
def bwn_alexnet(channels: int = 3, classes: int = 1000) -> nn.Module:
    """Binary convolution, batch normalisation, ReLU, pooling; whole maps drop out before both large layers.

    The probability is the 0.1 with which the authors trained it.

    Parameters: convolutions as in ``xnor_alexnet``; normalisations 192 + 512 + 768 + 768 + 512 + 8,192
    + 8,192.
    """
    last = classifier(channels, classes)
    blocks = [bwn_block(*sizes) for sizes in BINARY]
    large = [layer for block in blocks[4:] for layer in (nn.Dropout2d(0.1), block)]
    return BinaryAlexNet(channels, 1e-3, nn.Sequential(*blocks[:4], *large), nn.Sequential(last))

"""AlexNet as it was trained on two cards.

Source: A. Krizhevsky, I. Sutskever, G. E. Hinton, "ImageNet Classification with Deep Convolutional Neural
Networks", NIPS 2012, sections 3 and 5. (torchvision's ``alexnet`` is the later network with one tower.)

Departures from the paper:
  * Pictures are 224x224, as it says, and padded by 2, which it does not say: (224 - 11) / 4 + 1 is no whole
    number, and its figures need maps of 55x55. Sides of 223 to 230 end in the same 6x6.
  * The two cards are two groups of channels in convolutions 2, 4 and 5. The response is normalised over all
    maps of a layer, as the formula says, and so across the border between the groups.
  * Dropout doubles what is left while training; the paper halves everything while testing. Both have the same
    expectation.
"""

from torch import Tensor, nn

from concord.errors import ShapeError, UsageError
from concord.layers.pictures import require_pictures
from concord.zoo.registry import register

SMALLEST, LARGEST = 223, 230


def require_alexnet_pictures(x: Tensor, channels: int) -> None:
    """ShapeError unless x is (B, channels, H, W) with sides that end in maps of 6x6."""
    require_pictures(x, channels)
    if not (SMALLEST <= x.shape[2] <= LARGEST and SMALLEST <= x.shape[3] <= LARGEST):
        raise ShapeError(
            f"height and width must be {SMALLEST} to {LARGEST} (224 in the paper), "
            f"got {x.shape[2]}x{x.shape[3]}; resize the pictures"
        )


def response_norm() -> nn.Module:
    """b_i = a_i / (2 + 1e-4 sum_{j = i-2}^{i+2} a_j^2)^0.75; torch divides alpha by the 5 maps of the sum."""
    return nn.LocalResponseNorm(5, alpha=5e-4, beta=0.75, k=2.0)


class AlexNet(nn.Module):
    """Five convolutions, three of them in two groups, overlapping 3x3 pooling, three dense layers.

    Shape: (B, C, 224, 224) -> (B, K) logits; ShapeError unless H and W are 223 to 230
    """

    def __init__(self, channels: int, classes: int) -> None:
        if min(channels, classes) < 1:
            raise UsageError("channels and classes must be at least 1")
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(channels, 96, 11, stride=4, padding=2),  # (B, 96, 55, 55)
            nn.ReLU(inplace=True),
            response_norm(),
            nn.MaxPool2d(3, 2),
            nn.Conv2d(96, 256, 5, padding=2, groups=2),  # (B, 256, 27, 27)
            nn.ReLU(inplace=True),
            response_norm(),
            nn.MaxPool2d(3, 2),
            nn.Conv2d(256, 384, 3, padding=1),  # (B, 384, 13, 13)
            nn.ReLU(inplace=True),
            nn.Conv2d(384, 384, 3, padding=1, groups=2),
            nn.ReLU(inplace=True),
            nn.Conv2d(384, 256, 3, padding=1, groups=2),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(3, 2),  # (B, 256, 6, 6)
        )
        self.classifier = nn.Sequential(
            nn.Linear(256 * 6 * 6, 4096),
            nn.ReLU(inplace=True),
            nn.Dropout(0.5),
            nn.Linear(4096, 4096),
            nn.ReLU(inplace=True),
            nn.Dropout(0.5),
            nn.Linear(4096, classes),
        )
        self.channels = channels
        self.start()

    def start(self) -> None:
        """Weights from N(0, 0.01); biases 1 in convolutions 2, 4, 5 and the hidden dense layers, else 0.

        The ones feed the ReLUs positive numbers at first, which speeds up the beginning (section 5).
        """
        layers = [m for m in self.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
        for layer, bias in zip(layers, (0, 1, 0, 1, 1, 1, 1, 0), strict=True):
            weight, biases = layer.parameters()
            nn.init.normal_(weight, std=0.01)
            nn.init.constant_(biases, bias)

    def forward(self, x: Tensor) -> Tensor:
        require_alexnet_pictures(x, self.channels)
        return self.classifier(self.features(x).flatten(1))


@register(
    example=(3, 224, 224),
    parameters=60_965_224,
    source="Krizhevsky, Sutskever, Hinton 2012: two towers, response normalisation",
)
def alexnet_paper(channels: int = 3, classes: int = 1000) -> nn.Module:
    """The network of the paper, "60 million parameters".

    Parameters: convolutions 34,944 + 307,456 + 885,120 + 663,936 + 442,624, dense layers 37,752,832
    + 16,781,312 + 4,097,000.
    """
    return AlexNet(channels, classes)

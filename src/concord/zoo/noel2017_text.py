"""The ST and M networks of collaborative training, as their author's report describes them.

Source: J. Noel, "A collaborative approach to deep learning", 2017, section 3.3. After K. He, X. Zhang,
S. Ren, J. Sun, "Identity Mappings in Deep Residual Networks", 2016, arXiv:1603.05027.

The report leaves gaps. This reading agrees with itself: 10 and 16 convolutions, 2^B F channels before the
dense layer, batch normalisation with scale and shift, which the report counts among the parameters. It is
not the network of the published tables; that one is ``noel2017_code``.

The report gives no start, so that PyTorch's stays; the He start of the published code learns far more slowly
with it (docs/results/mnist-3-epochs.md).

Departures from the report:
  * The last doubling, after the last brick, is a 3x3 convolution at stride 1: the sides stay.
  * A side need not be even; like any 2x2 convolution with valid padding it then loses its last row or column.
"""

from torch import Tensor, nn
from torch.nn.functional import relu

from concord.errors import ShapeError, UsageError
from concord.zoo.noel2017_code import EPS, MOMENTUM, MOST_BRICKS, Unit
from concord.zoo.registry import register


def norm(width: int) -> nn.Module:
    """Batch normalisation with gamma and beta."""
    return nn.BatchNorm2d(width, EPS, MOMENTUM)


class Noel2017Text(nn.Module):
    """Bricks of ``repetitions`` units, each followed by a convolution that doubles the width.

    The doublings between bricks are 2x2 at stride 2 and halve the sides; the last one is 3x3 at stride 1.
    Then normalisation, ReLU, a mean over the picture and a dense layer of 2^B F inputs.

    Shape: (B, C, H, W) -> (B, K) logits; ShapeError unless H and W are at least 2^(bricks - 1)
    """

    def __init__(
        self, channels: int, classes: int, *, bricks: int = 3, repetitions: int = 1, filters: int = 8
    ) -> None:
        if min(channels, classes, bricks, repetitions, filters) < 1:
            raise UsageError("channels, classes, bricks, repetitions and filters must be at least 1")
        if bricks > MOST_BRICKS:
            raise UsageError(f"bricks must be at most {MOST_BRICKS}, each halves the sides, got {bricks}")
        super().__init__()
        widths = [filters * 2**b for b in range(bricks)]
        self.norm = norm(channels)
        self.stem = nn.Conv2d(channels, filters, 3, padding=1, bias=False)
        self.bricks = nn.Sequential()
        for width in widths:
            brick = nn.Sequential(*(Unit(width, norm, bias=False) for _ in range(repetitions)))
            if width != widths[-1]:
                brick.append(nn.Conv2d(width, 2 * width, 2, stride=2, bias=False))
            else:
                brick.append(nn.Conv2d(width, 2 * width, 3, padding=1, bias=False))
            self.bricks.append(brick)
        self.last_norm = norm(2 * widths[-1])
        self.head = nn.Linear(2 * widths[-1], classes)
        self.channels, self.smallest = channels, 2 ** (bricks - 1)

    def forward(self, x: Tensor) -> Tensor:
        if x.ndim != 4 or x.shape[1] != self.channels:
            raise ShapeError(f"expected (B, {self.channels}, H, W), got {tuple(x.shape)}")
        if x.shape[2] < self.smallest or x.shape[3] < self.smallest:
            raise ShapeError(
                f"height and width must be at least {self.smallest}, got {x.shape[2]}x{x.shape[3]}"
            )
        x = self.bricks(self.stem(self.norm(x)))
        x = relu(self.last_norm(x), inplace=True)
        return self.head(x.mean((2, 3)))  # (B, C, H, W) -> (B, C) -> (B, K)


@register(example=(3, 32, 32), parameters=46_408, source="Noel 2017, section 3.3: ST (F = 8, B = 3, R = 1)")
def noel2017_text_st(
    channels: int = 3, classes: int = 10, *, bricks: int = 3, repetitions: int = 1, filters: int = 8
) -> nn.Module:
    """The small network of the pair.

    Parameters: first norm 6, stem 216, units 1,184 + 4,672 + 18,560, doublings 512 + 2,048 + 18,432,
    last norm 128, head 650.
    """
    return Noel2017Text(channels, classes, bricks=bricks, repetitions=repetitions, filters=filters)


@register(example=(3, 32, 32), parameters=280_384, source="Noel 2017, section 3.3: M (F = 16, B = 3, R = 2)")
def noel2017_text_m(
    channels: int = 3, classes: int = 10, *, bricks: int = 3, repetitions: int = 2, filters: int = 16
) -> nn.Module:
    """The larger network of the pair.

    Parameters: first norm 6, stem 432, units 2 x (4,672 + 18,560 + 73,984), doublings 2,048 + 8,192
    + 73,728, last norm 256, head 1,290.
    """
    return Noel2017Text(channels, classes, bricks=bricks, repetitions=repetitions, filters=filters)

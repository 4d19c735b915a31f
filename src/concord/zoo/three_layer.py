"""Three 5x5 convolutions and a classifier, and five ways to make do with fewer parameters.

Source: Merrikhi 2024 (an assignment of a course on deep learning), question 1: the network in part 2,
separable convolutions in part 3, the fully connected layer and the ways to reduce it in part 4. Part 4 has
formulas and no totals. These are the totals for pictures of 128x128 and 200 classes:

                                convolutions      head  parameters          MACs
    three_layer                    1,029,248  13,107,400  14,136,648  452,198,400   the head has 92.72 %
    three_layer_separable             51,200  13,107,400  13,158,600   52,002,816   99.61 %
    three_layer_shared               209,792  13,107,400  13,317,192  347,340,800   98.42 %
    three_layer_sparse             1,029,248   1,638,600   2,667,848  440,729,600   61.42 %
    three_layer_pooled             1,029,248      51,400   1,080,648  439,142,400    4.76 %
    three_layer_separable_pooled      51,200      51,400     102,600   38,946,816   50.10 %

So what is saved among the convolutions hardly counts until the head is smaller.

Departures from the source:
  * The networks give logits; the softmax belongs to the loss.
  * Part 4 names "parameter sharing" and "sparse connections" without a form. The forms chosen here are those
    of ``SharedLayers`` and ``SparseHead``.
  * The source gives no start: He's for the convolutions, PyTorch's for the dense layer.
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import relu

from concord.errors import ShapeError, UsageError
from concord.layers.pictures import require_pictures
from concord.layers.separable import SeparableConv2d
from concord.layers.start import he_start
from concord.zoo.registry import register

MAPS = 256  # of the third layer


def conv5(c_in: int, c_out: int) -> nn.Conv2d:
    return nn.Conv2d(c_in, c_out, 5, stride=2, padding=2)


def separable5(c_in: int, c_out: int) -> SeparableConv2d:
    return SeparableConv2d(c_in, c_out, 5, stride=2, padding=2)


def positions(side: int) -> int:
    """What is left of side x side positions after three halvings, rounded up; UsageError below 1."""
    if side < 1:
        raise UsageError(f"side must be at least 1, got {side}")
    return (-(-side // 8)) ** 2


class ThreeLayers(nn.Module):
    """relu(conv3(relu(conv2(relu(conv1(x)))))): 64, 128 and 256 filters, each layer halves both sides.

    Shape: (B, C, H, W) -> (B, 256, ceil(H / 8), ceil(W / 8))
    """

    def __init__(self, channels: int, *, separable: bool = False) -> None:
        super().__init__()
        layer = separable5 if separable else conv5
        self.conv1 = conv5(channels, 64)
        self.conv2 = layer(64, 128)
        self.conv3 = layer(128, MAPS)

    def forward(self, x: Tensor) -> Tensor:
        return relu(self.conv3(relu(self.conv2(relu(self.conv1(x))))))


class SharedLayers(nn.Module):
    """The second layer is used again as the third: once for each half of its own 128 maps.

        y = relu(conv2(relu(conv1(x))))
        z = relu([conv2(y[:64]), conv2(y[64:])])

    Counts once among the parameters, three times among the multiply-accumulates: once on the map of
    H/4 x W/4, twice on that of H/8 x W/8.

    Shape: (B, C, H, W) -> (B, 256, ceil(H / 8), ceil(W / 8))
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = conv5(channels, 64)
        self.conv2 = conv5(64, 128)

    def forward(self, x: Tensor) -> Tensor:
        y = relu(self.conv2(relu(self.conv1(x))))
        return relu(torch.cat([self.conv2(half) for half in y.chunk(2, dim=1)], 1))


class PooledHead(nn.Module):
    """Mean over the picture, then a dense layer.

    By linearity that is one 256 x K matrix shared by all positions, and the mean of what it gives.

    Shape: (B, 256, H, W) -> (B, K)
    """

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.dense = nn.Linear(MAPS, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.dense(x.mean((2, 3)))


def flat_head(classes: int, side: int) -> nn.Sequential:
    return nn.Sequential(nn.Flatten(), nn.Linear(MAPS * positions(side), classes))


class SparseHead(nn.Module):
    """A dense layer that keeps one connection in ``groups``: each group of maps has its own classes.

        logits[k] = sum over the maps c of k's group and all positions p of w[k, c, p] x[c, p] + b[k]

    The maps are cut into equal groups in order, the classes as evenly as they go. Where ``groups`` divides
    the classes, this is a grouped convolution whose kernel is as large as the map. While there are more
    groups than classes their number is halved, so that every map is read.

    Shape: (B, 256, S, S) -> (B, K); UsageError unless ``groups`` divides 256
    """

    def __init__(self, classes: int, side: int, groups: int) -> None:
        if groups < 1 or MAPS % groups:
            raise UsageError(f"groups must divide {MAPS} (1, 2, 4, ..., {MAPS}), got {groups}")
        super().__init__()
        while groups > classes:
            groups //= 2
        inputs = MAPS * positions(side) // groups
        shares = [len(range(group, classes, groups)) for group in range(groups)]
        self.parts = nn.ModuleList(nn.Linear(inputs, share) for share in shares)

    def forward(self, x: Tensor) -> Tensor:
        groups = x.chunk(len(self.parts), dim=1)
        return torch.cat([part(maps.flatten(1)) for part, maps in zip(self.parts, groups, strict=True)], 1)


class ThreeLayerNetwork(nn.Module):
    """Features and a head. A head over positions fixes the side of the picture.

    Shape: (B, C, H, W) -> (B, K) logits; ShapeError unless H = W = side, where a side is given
    """

    def __init__(self, features: nn.Module, head: nn.Module, channels: int, side: int | None = None) -> None:
        super().__init__()
        self.features, self.head = features, head
        self.channels, self.side = channels, side
        he_start(self)

    def forward(self, x: Tensor) -> Tensor:
        require_pictures(x, self.channels)
        if self.side is not None and x.shape[2:] != (self.side, self.side):
            raise ShapeError(
                f"height and width must be {self.side}, got {x.shape[2]}x{x.shape[3]}; "
                "resize the pictures or build the network with another side"
            )
        return self.head(self.features(x))


@register(example=(3, 128, 128), parameters=14_136_648, source="Merrikhi 2024, question 1, parts 2 and 4")
def three_layer(channels: int = 3, classes: int = 200, *, side: int = 128) -> nn.Module:
    """A fully connected layer over all maps and positions.

    Parameters: K² M N + N = 4,864 + 204,928 + 819,456, head 256 16² 200 + 200 = 13,107,400.
    """
    return ThreeLayerNetwork(ThreeLayers(channels), flat_head(classes, side), channels, side)


@register(example=(3, 128, 128), parameters=13_158_600, source="Merrikhi 2024, question 1, parts 3 and 4")
def three_layer_separable(channels: int = 3, classes: int = 200, *, side: int = 128) -> nn.Module:
    """Layers 2 and 3 are depthwise separable.

    Parameters: 4,864, K² M + M + M N + N = 1,664 + 8,320 and 3,328 + 33,024, head 13,107,400.
    """
    features = ThreeLayers(channels, separable=True)
    return ThreeLayerNetwork(features, flat_head(classes, side), channels, side)


@register(example=(3, 128, 128), parameters=1_080_648, source="Merrikhi 2024, question 1, part 4: pooling")
def three_layer_pooled(channels: int = 3, classes: int = 200) -> nn.Module:
    """The mean over the picture before the fully connected layer; takes pictures of any size.

    Parameters: 4,864 + 204,928 + 819,456, head 256 200 + 200 = 51,400.
    """
    return ThreeLayerNetwork(ThreeLayers(channels), PooledHead(classes), channels)


@register(
    example=(3, 128, 128), parameters=102_600, source="Merrikhi 2024, question 1, parts 3 and 4: pooling"
)
def three_layer_separable_pooled(channels: int = 3, classes: int = 200) -> nn.Module:
    """Both: separable layers 2 and 3, and the mean over the picture; takes pictures of any size.

    Parameters: 4,864 + 9,984 + 36,352, head 51,400.
    """
    return ThreeLayerNetwork(ThreeLayers(channels, separable=True), PooledHead(classes), channels)


@register(
    example=(3, 128, 128),
    parameters=2_667_848,
    source="Merrikhi 2024, question 1, part 4: sparse connections",
)
def three_layer_sparse(
    channels: int = 3, classes: int = 200, *, side: int = 128, groups: int = 8
) -> nn.Module:
    """The fully connected layer keeps one connection in ``groups``.

    Parameters: 4,864 + 204,928 + 819,456, head 256 16² 200 / 8 + 200 = 1,638,600.
    """
    return ThreeLayerNetwork(ThreeLayers(channels), SparseHead(classes, side, groups), channels, side)


@register(
    example=(3, 128, 128),
    parameters=13_317_192,
    source="Merrikhi 2024, question 1, part 4: parameter sharing",
)
def three_layer_shared(channels: int = 3, classes: int = 200, *, side: int = 128) -> nn.Module:
    """Layer 3 has the weights of layer 2.

    Parameters: 4,864 + 204,928, head 13,107,400.
    """
    return ThreeLayerNetwork(SharedLayers(channels), flat_head(classes, side), channels, side)

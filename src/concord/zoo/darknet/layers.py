"""One module for each section of a ``.cfg`` file, and the size of what it gives.

Source: J. Redmon, darknet, the files of its layers; groups of a route, dilation, mish and swish are those of
the fork by AlexeyAB.

Departures: batch normalisation, see ``layers.darknet``. A softmax or cost at the end is left out, so that a
classifier gives logits. The heads of detectors give raw outputs; decoding belongs to the task.
"""

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn

from concord.errors import suggestion
from concord.layers.darknet import EPSILON, MOMENTUM, SLOPE, MaxPool, Reorg
from concord.zoo.darknet.sections import Section

Shape = tuple[int, int, int]  # channels, height, width at the size that the file names
Made = tuple[nn.Module, Shape]
ACTIVATIONS: Mapping[str, Callable[[], nn.Module]] = {
    "linear": nn.Identity,
    "leaky": lambda: nn.LeakyReLU(SLOPE),
    "logistic": nn.Sigmoid,
    "relu": nn.ReLU,
    "mish": nn.Mish,
    "swish": nn.SiLU,
}


class Local(nn.Module):
    """A convolution whose kernel is another one at every place.

        y[n, l] = b[n, l] + sum_k w[l, n, k] x_l[k],    x_l the window around place l

    Shape: (B, C, H, W) -> (B, N, H', W'), for the one size for which there are kernels
    """

    def __init__(self, shape: Shape, out: Shape, size: int, stride: int, padding: int) -> None:
        super().__init__()
        self.out, self.size, self.stride, self.padding = out, size, stride, padding
        n, places = out[0], out[1] * out[2]
        self.weight = nn.Parameter(torch.empty(places, n, shape[0] * size**2))
        self.bias = nn.Parameter(torch.zeros(n, places))
        nn.init.normal_(self.weight, std=(2 / (shape[0] * size**2)) ** 0.5)

    def forward(self, x: Tensor) -> Tensor:
        windows = nn.functional.unfold(x, self.size, padding=self.padding, stride=self.stride)
        y = self.weight @ windows.permute(2, 1, 0)  # (L, N, K) of (L, K, B)
        return (y.permute(2, 1, 0) + self.bias).unflatten(2, self.out[1:])


class Route(nn.Module):
    """Maps of several layers put together, of which one group of ``groups`` is taken."""

    def __init__(self, groups: int, group: int) -> None:
        super().__init__()
        self.groups, self.group = groups, group

    def forward(self, *maps: Tensor) -> Tensor:
        together = torch.cat(maps, 1) if len(maps) > 1 else maps[0]
        return together.chunk(self.groups, 1)[self.group]


class Shortcut(nn.Module):
    """The activation of a sum of maps."""

    def __init__(self, activation: nn.Module) -> None:
        super().__init__()
        self.activation = activation

    def forward(self, first: Tensor, *others: Tensor) -> Tensor:
        for other in others:
            first = first + other
        return self.activation(first)


def activation(section: Section) -> nn.Module:
    name = section.word("activation", "linear" if section.kind == "shortcut" else "logistic")
    if name not in ACTIVATIONS:
        known = ", ".join(ACTIVATIONS)
        raise section.error(
            f"unknown activation {name!r}{suggestion(name, ACTIVATIONS)}; known are {known}", "activation"
        )
    return ACTIVATIONS[name]()


def convolutional(section: Section, shape: Shape) -> Made:
    n, size, stride = section.whole("filters", 1), section.whole("size", 1), section.whole("stride", 1)
    strides = section.whole("stride_y", stride), section.whole("stride_x", stride)
    groups, dilation = section.whole("groups", 1), section.whole("dilation", 1)
    padding = section.whole("padding", 0, least=0)
    if section.whole("pad", 0, least=0):
        padding = size // 2
    if shape[0] % groups or n % groups:
        raise section.error(f"{shape[0]} maps and {n} filters cannot be divided into groups", "groups")
    norm = section.whole("batch_normalize", 0, least=0) > 0
    dilation = 1 if size == 1 else dilation
    conv = nn.Conv2d(
        shape[0], n, size, strides, padding * dilation, dilation=dilation, groups=groups, bias=not norm
    )
    layers = nn.Sequential(conv, *([nn.BatchNorm2d(n, EPSILON, MOMENTUM)] if norm else []))
    reach = dilation * (size - 1) + 1
    sides = [
        (side + 2 * padding * dilation - reach) // step + 1
        for side, step in zip(shape[1:], strides, strict=True)
    ]
    return layers.append(activation(section)), (n, sides[0], sides[1])


def maxpool(section: Section, shape: Shape) -> Made:
    stride = section.whole("stride", 1)
    if section.whole("stride_x", stride) != stride or section.whole("stride_y", stride) != stride:
        raise section.error("expected one stride in both directions")
    size = section.whole("size", stride)
    padding = section.whole("padding", size - 1, least=0)
    if padding >= 2 * size:
        raise section.error("expected a padding of less than two windows", "padding")
    c, *sides = shape
    h, w = ((side + padding - size) // stride + 1 for side in sides)
    return MaxPool(size, stride, padding), (c, h, w)


def avgpool(section: Section, shape: Shape) -> Made:
    return nn.AdaptiveAvgPool2d(1), (shape[0], 1, 1)


def upsample(section: Section, shape: Shape) -> Made:
    times = section.whole("stride", 2)
    return nn.Upsample(scale_factor=times), (shape[0], shape[1] * times, shape[2] * times)


def reorg(section: Section, shape: Shape) -> Made:
    s, (c, h, w) = section.whole("stride", 1), shape
    if c % s**2 or h % s or w % s:
        raise section.error(f"{c} maps of {h}x{w} cannot be divided by the stride", "stride")
    return Reorg(s), (c * s**2, h // s, w // s)


def local(section: Section, shape: Shape) -> Made:
    n, size, stride = section.whole("filters", 1), section.whole("size", 1), section.whole("stride", 1)
    padding = min(section.whole("pad", 0, least=0), 1)
    if padding and size != 3:  # darknet counts its places as if pad=1 kept the size, which is so for 3 only
        raise section.error("pad=1 belongs to size=3", "pad")
    h, w = ((side + 2 * padding - size) // stride + 1 for side in shape[1:])
    if min(h, w) < 1:
        raise section.error(f"windows of {size}x{size} do not fit into maps of {shape[1]}x{shape[2]}", "size")
    out = (n, h, w)
    return nn.Sequential(Local(shape, out, size, stride, padding), activation(section)), out


def connected(section: Section, shape: Shape) -> Made:
    n = section.whole("output", 1)
    norm = section.whole("batch_normalize", 0, least=0) > 0
    layers = nn.Sequential(nn.Flatten(), nn.Linear(shape[0] * shape[1] * shape[2], n, bias=not norm))
    if norm:
        layers.append(nn.BatchNorm1d(n, EPSILON, MOMENTUM))
    return layers.extend([activation(section), nn.Unflatten(1, (n, 1, 1))]), (n, 1, 1)


def dropout(section: Section, shape: Shape) -> Made:
    (share,) = section.numbers("probability")[:1] if "probability" in section.options else (0.5,)
    if not 0 <= share < 1:
        raise section.error("expected a share from 0 to below 1", "probability")
    return nn.Dropout(share), shape


def route(section: Section, shapes: Sequence[Shape]) -> Made:
    if len({shape[1:] for shape in shapes}) > 1:
        sizes = " and ".join(f"{h}x{w}" for _, h, w in shapes)
        raise section.error(f"maps of {sizes} cannot be put together", "layers")
    groups, group = section.whole("groups", 1), section.whole("group_id", 0, least=0)
    channels = sum(c for c, _, _ in shapes)
    if channels % groups or group >= groups:
        raise section.error(f"{channels} maps have no group {group} of {groups}", "groups")
    return Route(groups, group), (channels // groups, *shapes[0][1:])


def shortcut(section: Section, shapes: Sequence[Shape]) -> Made:
    if len(set(shapes)) > 1:
        sizes = " and ".join("x".join(map(str, shape)) for shape in shapes)
        raise section.error(f"maps of {sizes} cannot be added", "from")
    return Shortcut(activation(section)), shapes[0]


LAYERS: Mapping[str, Callable[[Section, Shape], Made]] = {
    f.__name__: f for f in (convolutional, maxpool, avgpool, upsample, reorg, local, connected, dropout)
}

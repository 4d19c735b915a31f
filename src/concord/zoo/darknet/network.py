"""A network from a ``.cfg`` file of darknet: a classifier, or a detector of version 1, 2 or 3.

Source: J. Redmon, darknet (github.com/pjreddie/darknet f6afaab) and its fork (AlexeyAB/darknet 59596d7).
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from concord.errors import DataError, ShapeError, UsageError
from concord.layers.pictures import require_pictures
from concord.layers.start import he_start
from concord.zoo.darknet.heads import HEADS, Head
from concord.zoo.darknet.layers import LAYERS, Made, Shape, route, shortcut
from concord.zoo.darknet.sections import Section, read_sections
from concord.zoo.detector import Detector

ENDS = ("softmax", "cost")
FIXED = ("local", "connected")  # layers for one size of pictures


class Described(NamedTuple):
    """What a file says about its pictures and classes."""

    input: Shape
    classes: int


class Graph(nn.Module):
    """Layers in the order of the file, each of which reads some that stand before it; -1 is the picture."""

    def __init__(self, layers: Sequence[nn.Module], sources: Sequence[tuple[int, ...]]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)
        self.sources = tuple(sources)

    def forward(self, x: Tensor, wanted: Sequence[int]) -> list[Tensor]:
        """The outputs of the wanted layers; others are held only while a later layer needs them."""
        last = {source: i for i, sources in enumerate(self.sources) for source in sources}
        made = {-1: x}
        for i, layer in enumerate(self.layers):
            made[i] = layer(*(made[source] for source in self.sources[i]))
            for source in set(self.sources[i]) - set(wanted):
                if last[source] == i:
                    del made[source]
        return [made[i] for i in wanted]


class CfgClassifier(nn.Module):
    """The layers of a file without a detector's head.

    Shape: (B, C, H, W) -> (B, K) logits, or the last map (B, K, H', W') of a network that ends in one
    """

    def __init__(self, graph: Graph, shape: Shape, out: Shape, *, fixed: bool) -> None:
        super().__init__()
        self.graph, self.shape, self.fixed = graph, shape, fixed
        self.classes, self.is_flat = out[0], out[1:] == (1, 1)

    def forward(self, x: Tensor) -> Tensor:
        require_pictures(x, self.shape[0])
        _require_size(x, self.shape, self.fixed)
        (y,) = self.graph(x, [len(self.graph.layers) - 1])
        return y.flatten(1) if self.is_flat else y


class CfgDetector(Detector):
    """The layers of a file with heads of one version; ``heads`` stand in their order, coarse maps first.

    Shape: (B, C, H, W) -> the raw output of the version, see ``zoo.detector``
    """

    def __init__(self, graph: Graph, shape: Shape, heads: Sequence[tuple[int, Head]], *, fixed: bool) -> None:
        first = heads[0][1]
        super().__init__(
            first.version,
            shape[0],
            first.classes,
            boxes=first.boxes,
            cells=first.cells,
            strides=tuple(head.stride for _, head in heads if head.stride),
            anchors=tuple(head.anchors for _, head in heads if head.anchors),
        )
        self.graph, self.shape, self.fixed = graph, shape, fixed
        self.wanted = tuple(index for index, _ in heads)

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, ...]:
        self.require(x)
        _require_size(x, self.shape, self.fixed)
        made = self.graph(x, self.wanted)
        if self.version == 3:
            return tuple(made)
        return made[0].flatten(1) if self.version == 1 else made[0]


def read_network(path: Path) -> CfgClassifier | CfgDetector:
    """The network of a file, started as He says; DataError, with the line, for what concord cannot build."""
    sections = read_sections(path)
    shape = _input(sections[0])
    layers = [*sections[1:]]
    while layers and layers[-1].kind in ENDS:
        layers.pop()
    if not layers:
        raise DataError(f"{path}: the network has no layers")
    modules, sources, shapes = [], [], [shape]
    for i, section in enumerate(layers):
        read = _sources(section, i)
        module, out = _made(section, [shapes[source + 1] for source in read])
        if min(out) < 1:
            raise section.error(f"leaves nothing of {_times(shapes[-1])}: use larger pictures")
        modules.append(module)
        sources.append(read)
        shapes.append(out)
    graph, fixed = Graph(modules, sources), any(section.kind in FIXED for section in layers)
    heads = [(i, HEADS[s.kind](s, shapes[i + 1], shape)) for i, s in enumerate(layers) if s.kind in HEADS]
    network: CfgClassifier | CfgDetector
    if heads:
        network = CfgDetector(graph, shape, _of_one_kind(path, heads), fixed=fixed)
    else:
        network = CfgClassifier(graph, shape, shapes[-1], fixed=fixed)
    he_start(network)
    return network


def network_of(path: Path, channels: int, classes: int) -> CfgClassifier | CfgDetector:
    """The network of a file for these data; UsageError if the file is for others."""
    network = read_network(path)
    if (network.shape[0], network.classes) != (channels, classes):
        raise UsageError(
            f"{path} is a network for {network.shape[0]} channels and {network.classes} classes, not for "
            f"{channels} and {classes}; set channels= in [net], and in the last layers filters= and classes="
        )
    return network


def described(path: Path) -> Described:
    """Size of the pictures and number of classes; DataError as for ``read_network``."""
    with torch.device("meta"):
        network = read_network(path)
    return Described(network.shape, network.classes)


def _input(net: Section) -> Shape:
    return net.whole("channels"), net.whole("height"), net.whole("width")


def _sources(section: Section, index: int) -> tuple[int, ...]:
    """Numbers of the layers that this one reads; negative ones in the file count back from it."""
    if section.kind not in ("route", "shortcut"):
        return (index - 1,)
    key = "layers" if section.kind == "route" else "from"
    numbers = [int(n) for n in section.numbers(key)]
    read = tuple(n + index if n < 0 else n for n in numbers)
    if not all(0 <= n < index for n in read):
        raise section.error(f"expected layers from 0 to {index - 1}, which stand before this one", key)
    return read if section.kind == "route" else (index - 1, *read)


def _made(section: Section, shapes: Sequence[Shape]) -> Made:
    if section.kind == "route":
        return route(section, shapes)
    if section.kind == "shortcut":
        return shortcut(section, shapes)
    if section.kind in HEADS:
        return nn.Identity(), shapes[0]
    if section.kind in ENDS or section.kind == "net":
        raise section.error("this section stands at the end of a file, [net] at its start")
    return LAYERS[section.kind](section, shapes[0])


def _of_one_kind(path: Path, heads: Sequence[tuple[int, Head]]) -> list[tuple[int, Head]]:
    """The heads, coarse ones first; DataError unless they can be the outputs of one detector."""
    kinds = {(head.version, head.classes, head.boxes) for _, head in heads}
    if len(kinds) > 1 or (len(heads) > 1 and heads[0][1].version != 3):
        raise DataError(
            f"{path}: expected one head, [detection] or [region], or [yolo] heads that agree in classes= and "
            f"in the length of mask="
        )
    return sorted(heads, key=lambda pair: -pair[1].stride)


def _require_size(x: Tensor, shape: Shape, fixed: bool) -> None:
    if fixed and tuple(x.shape[2:]) != shape[1:]:
        raise ShapeError(
            f"height and width must be {shape[1]}x{shape[2]}, as the file says, got {x.shape[2]}x{x.shape[3]}"
        )


def _times(shape: Shape) -> str:
    return "x".join(map(str, shape))

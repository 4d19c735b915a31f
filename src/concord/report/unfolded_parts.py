"""A network over steps as a graph: one node for each layer and step, an arrow for all that passes on."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from torch import nn

from concord.layers.recurrent.cell import Cell
from concord.layers.recurrent.convlstm import ConvLSTM
from concord.layers.recurrent.lstm import LSTM

if TYPE_CHECKING:
    import networkx

Kind = Literal["input", "embedding", "cell", "dense", "output"]
# to the layer above; to the next step; from an encoder to its forecaster; past a block
Passes = Literal["input", "state", "copy", "shortcut"]
INPUT, OUTPUT = "x", "y"


@dataclass(frozen=True)
class Row:
    """A layer at all of its steps, in one direction."""

    name: str  # the path of its module; "x" and "y" are what goes in and out
    kind: Kind
    text: str  # inside its boxes
    note: str  # beside them
    height: int
    steps: range
    side: int = 0  # -1 and 1: the forward and the backward one of a pair


@dataclass(frozen=True)
class Arrow:
    source: tuple[str, int]  # row and step
    target: tuple[str, int]
    passes: Passes
    label: str = ""


@dataclass(frozen=True)
class Unfolded:
    rows: tuple[Row, ...]
    arrows: tuple[Arrow, ...]
    steps: int  # of the input

    def graph(self) -> "networkx.DiGraph[tuple[str, int]]":
        """Nodes are pairs of a row and a step."""
        import networkx

        graph: networkx.DiGraph[tuple[str, int]] = networkx.DiGraph()
        graph.add_nodes_from((row.name, step) for row in self.rows for step in row.steps)
        graph.add_edges_from((arrow.source, arrow.target) for arrow in self.arrows)
        return graph


def up(below: Sequence[Row], row: Row) -> list[Arrow]:
    """Arrows from every row below at the same step."""
    return [Arrow((source.name, t), (row.name, t), "input") for source in below for t in row.steps]


def states(row: Row, cell: nn.Module, *, backwards: bool = False) -> list[Arrow]:
    """Arrows from each step to the next one, or to the one before it."""
    pairs = [(t, t + 1) for t in row.steps[:-1]]
    label = carried(cell)
    return [
        Arrow((row.name, t), (row.name, after), "state", label)
        for t, after in ([(after, t) for t, after in pairs] if backwards else pairs)
    ]


def carried(cell: nn.Module) -> str:
    """``h, c``: what passes from step to step."""
    return "h, c" if isinstance(cell, LSTM | ConvLSTM) else "h"


def sizes(module: nn.Module) -> str:
    """What a layer's weights say about its size."""
    if isinstance(module, ConvLSTM):
        kernels = [weight.shape[-1] for weight in (module.weight_x, module.weight_h) if weight.numel()]
        return f"{module.channels} channels, kernels {' and '.join(f'{k}x{k}' for k in kernels)}"
    if isinstance(module, Cell):
        return f"{module.get_parameter('weight_h').shape[1]} units"
    if isinstance(module, nn.Embedding):
        return f"{module.num_embeddings} symbols, {module.embedding_dim} numbers"
    if isinstance(module, nn.Linear):
        return f"{module.in_features} to {module.out_features}"
    return f"{module.in_channels} to {module.out_channels} channels"

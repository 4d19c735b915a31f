"""What there is to say about a network, taken from its modules, its cost and its file."""

import inspect
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypedDict

from concord.cost.record import Priced
from concord.errors import UsageError
from concord.report.explain_texts import paragraphs
from concord.report.over_time import Reach, Stage, reach, stages
from concord.report.unfolded_parts import Unfolded
from concord.runs.cost_inputs import Input, own_name, usual_channels, usual_classes, usual_inputs
from concord.runs.costs import cost_of
from concord.zoo.build import is_darknet

if TYPE_CHECKING:
    from torch import nn

    from concord.cost.document import FieldDocument, LayerDocument


@dataclass(frozen=True)
class CellFacts:
    """A recurrent cell or a temporal block."""

    path: str
    type: str
    parameters: int
    equations: tuple[str, ...]
    what: str  # the first sentence about it; empty where that is its equation
    sources: tuple[str, ...]


class PlaceDocument(TypedDict):
    row: str
    step: int


class ArrowDocument(TypedDict):
    source: PlaceDocument
    target: PlaceDocument
    passes: str
    label: str


class UnfoldedDocument(TypedDict):
    steps: int
    rows: list[dict[str, object]]
    arrows: list[ArrowDocument]


class ExplainDocument(TypedDict):
    """What ``concord explain --json`` prints."""

    network: str
    source: str
    input: list[int] | list[list[int]]
    output: list[int] | list[list[int]]
    parameters: int
    macs: int
    other_operations: int
    receptive_field: "FieldDocument | None"
    steps_seen: dict[str, int | None] | None
    cells: list[dict[str, object]]
    levels: list[dict[str, int]]
    unfolded: UnfoldedDocument | None
    layers: "list[LayerDocument]"


@dataclass(frozen=True)
class Explanation:
    """A network of the zoo or of a library, explained; ``page`` in ``explain_page`` draws it."""

    priced: Priced
    source: str
    about: tuple[str, ...]
    inputs: tuple[Input, ...]
    outputs: tuple[tuple[int, ...], ...]  # shapes of one sample
    cells: tuple[CellFacts, ...]
    chain: tuple[Stage, ...] = field(repr=False)  # over steps; () for other networks
    unfolded: Unfolded | None = field(repr=False)  # over a few steps, if it is recurrent
    levels: tuple[tuple[int, int], ...]  # of a convolutional one: dilation, and steps seen up to there

    @property
    def name(self) -> str:
        return self.priced.name

    @property
    def steps_seen(self) -> Reach | None:
        return reach(self.chain) if self.chain else None

    def to_dict(self) -> ExplainDocument:
        """The document that ``concord explain --json`` prints."""
        cost, seen = self.priced.to_dict(), self.steps_seen
        outputs = [list(shape) for shape in self.outputs]
        return {
            "network": self.name,
            "source": self.source,
            "input": cost["input"],
            "output": outputs if len(outputs) > 1 else outputs[0],
            "parameters": cost["parameters"],
            "macs": cost["macs"],
            "other_operations": cost["other_operations"],
            "receptive_field": cost["receptive_field"],
            "steps_seen": {"past": seen.past, "future": seen.future} if seen else None,
            "cells": [
                {"path": c.path, "type": c.type, "parameters": c.parameters, "equations": list(c.equations)}
                for c in self.cells
            ],
            "levels": [{"dilation": dilation, "steps_seen": steps} for dilation, steps in self.levels],
            "unfolded": _document(self.unfolded) if self.unfolded else None,
            "layers": cost["layers"],
        }


def explanation(network: str) -> Explanation:
    """Everything about a network that has a name in the zoo, torchvision or timm, sizes in brackets too.

    Raises UsageError for another name, with the nearest one.
    """
    if ":" in network:
        raise UsageError(
            f"{network}: networks of the zoo, torchvision and timm are explained; "
            f"`concord cost {network}` counts your own"
        )
    priced, inputs = cost_of(network), tuple(usual_inputs(network))
    own = own_name(network)
    if own is None:
        library = "darknet" if is_darknet(network) else network.rpartition("/")[0] or "torchvision or timm"
        outputs = (tuple(priced.layers[-1].output[1:]),)
        return Explanation(priced, f"as {library} has it", (), inputs, outputs, (), (), None, ())
    return _of_the_zoo(own, priced, inputs)


def _of_the_zoo(own: str, priced: Priced, inputs: tuple[Input, ...]) -> Explanation:
    from concord.report.levels_figure import sees
    from concord.zoo import registry
    from concord.zoo.skeleton import skeleton

    entry = registry.find(own)
    bare = skeleton(priced.name, channels=usual_channels(own), classes=usual_classes(own))
    chain = stages(bare, priced.layers)
    levels = tuple(sees(chain))
    drawn = _unfolded(chain) if chain and not levels else None
    about = () if entry.library else (*_about(entry.build), *paragraphs(inspect.getdoc(entry.build)))
    outputs, cells = _outputs(bare, inputs), tuple(_cells(bare))
    return Explanation(priced, entry.source, about, inputs, outputs, cells, chain, drawn, levels)


def _outputs(network: "nn.Module", inputs: Sequence[Input]) -> tuple[tuple[int, ...], ...]:
    """Shapes of what one sample gives, computed where the network is: mostly on the meta device."""
    import torch

    place = next(network.parameters()).device
    types = {True: torch.int64, False: torch.float32}
    given = [torch.zeros(1, *one.shape, dtype=types[one.ids], device=place) for one in inputs]
    with torch.no_grad():
        made = network.eval()(*given)
    return tuple(tuple(x.shape[1:]) for x in (made if isinstance(made, tuple) else (made,)))


def _unfolded(chain: Sequence[Stage]) -> Unfolded:
    """Over three steps; over the first and last two where the last one answers."""
    from concord.report.unfolded import unfolded

    return unfolded(chain, 3 if chain[-1].every else 4)


def _cells(network: "nn.Module") -> Iterator[CellFacts]:
    from concord.layers.recurrent.cell import Cell
    from concord.layers.temporal import TemporalBlock

    for path, module in network.named_modules():
        if isinstance(module, Cell | TemporalBlock):
            count = sum(p.numel() for p in module.parameters())
            kind = type(module)
            what, *_ = paragraphs(kind.__doc__) or ("",)
            sources = [text for text in _about(kind) if text.startswith("Source")]
            what = "" if " = " in what else what
            yield CellFacts(path, kind.__name__, count, module.equations(), what, tuple(sources))


def _about(thing: object) -> tuple[str, ...]:
    """The docstring of the file that defines it."""
    return paragraphs(sys.modules[str(thing.__module__)].__doc__)


def _document(drawn: Unfolded) -> UnfoldedDocument:
    return {
        "steps": drawn.steps,
        "rows": [
            {"name": row.name, "kind": row.kind, "note": row.note, "steps": list(row.steps)}
            for row in drawn.rows
        ],
        "arrows": [
            {"source": _place(a.source), "target": _place(a.target), "passes": a.passes, "label": a.label}
            for a in drawn.arrows
        ],
    }


def _place(node: tuple[str, int]) -> PlaceDocument:
    return {"row": node[0], "step": node[1]}

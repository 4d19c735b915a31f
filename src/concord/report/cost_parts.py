"""What a network costs, as parts of an HTML page: modules fold, as deep as they nest."""

from collections.abc import Sequence

from concord.cost.record import Block, Layer, Priced, grouped, times
from concord.report.cost_binary import binary_table
from concord.report.cost_tables import RULES, field_of, layers_of, rule_rows, share
from concord.report.cost_totals import totals
from concord.report.parts import Folded, Part
from concord.report.tables import Table, entries
from concord.report.text import whole

HEADER = (
    "layer",
    "type",
    "output",
    "parameters",
    "%",
    "buffers",
    "MACs",
    "%",
    "other",
    "activations",
    "field/stride",
)


def cost_parts(priced: Priced) -> list[Part]:
    """The whole network's figures, then its modules, folded."""
    rows = tuple(entries(name, text) for name, text in totals(priced))
    whole_network = Table(f"{priced.name}, input {priced.given}", ("figure", "value"), rows, 2)
    binary = [binary_table(priced)] if priced.cost.binary_layers else []
    return [whole_network, *binary, *_opened(grouped(priced.cost.layers), priced)]


def _opened(parts: Sequence[Block | Layer], priced: Priced) -> list[Part]:
    """Neighbouring layers share a table of figures and one of rules; a block between them folds."""
    shown: list[Part] = []
    layers: list[Layer] = []
    for part in parts:
        if isinstance(part, Layer):
            layers.append(part)
            continue
        shown += _table(layers, priced)
        layers = []
        shown.append(Folded(_title(part, priced), tuple(_opened(part.parts(), priced))))
    return [*shown, *_table(layers, priced)]


def _title(block: Block, priced: Priced) -> str:
    cost = priced.cost
    return (
        f"{block.path}: {whole(block.parameters)} parameters ({share(block.parameters, cost.parameters)} %), "
        f"{whole(block.macs)} MACs ({share(block.macs, cost.macs)} %), {layers_of(block)}"
    )


def _table(layers: Sequence[Layer], priced: Priced) -> list[Part]:
    if not layers:
        return []
    cost = priced.cost
    rows = tuple(
        entries(
            layer.path or "(network)",
            layer.type,
            times(layer.output[1:]),
            whole(layer.parameters),
            share(layer.parameters, cost.parameters),
            whole(layer.buffers),
            whole(layer.macs),
            share(layer.macs, cost.macs),
            whole(layer.other_operations),
            whole(layer.activations),
            field_of(layer),
        )
        for layer in layers
    )
    rules = rule_rows(layers)
    return [Table("", HEADER, rows, 3), *([Table("", RULES, rules, 2)] if rules else [])]

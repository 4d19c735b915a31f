"""What an update costs, as tables: layer by layer, and networks side by side."""

from collections.abc import Sequence

from concord.cost.training import LayerTraining, TrainingCost
from concord.errors import amount
from concord.files.text import printable
from concord.report.cost_tables import FEW, share
from concord.report.cost_totals import ratio, size_of
from concord.report.tables import Entry, Table, entries
from concord.report.text import whole

HEADER = ("layer", "type", "forward", "of inputs", "of weights", "%", "kept", "moved")
NOTES = (
    "forward: multiply-accumulates of the forward pass; of inputs, of weights: those of their gradients.",
    "kept: what autograd saves for the backward pass; moved: what all operations read and write.",
    "Neither the loss nor the optimizer is counted.",
)


def training_table(cost: TrainingCost, depth: int | None = None) -> Table:
    """Every layer, or below ``depth`` levels of modules one sum for each module.

    By default all layers of a small network, and the first level of a large one.
    """
    if depth is None:
        depth = 1 if len(cost.layers) > FEW else None
    parts = _folded(cost.layers, depth)
    rows = tuple(_row(path, kind, layers, cost.macs) for (path, kind), layers in parts.items())
    notes = NOTES if depth is None else (*NOTES, f"Layers below level {depth} of the modules are summed up.")
    total = _row("all", "", cost.layers, cost.macs)
    return Table(_caption(cost), HEADER, (*rows, total), 2, notes)


def _caption(cost: TrainingCost) -> str:
    return f"{cost.network}, input {cost.given}: one update of {amount(cost.batch, 'sample')}"


def _folded(layers: Sequence[LayerTraining], depth: int | None) -> dict[tuple[str, str], list[LayerTraining]]:
    """Layers of one module at this depth together, in the order in which they ran first."""
    inside: dict[str, list[LayerTraining]] = {}
    for layer in layers:
        steps = layer.path.split(".")
        inside.setdefault(".".join(steps if depth is None else steps[:depth]), []).append(layer)
    return {(path or "(network)", _kind(path, group)): group for path, group in inside.items()}


def _kind(path: str, group: Sequence[LayerTraining]) -> str:
    alone = len(group) == 1 and group[0].path == path
    return group[0].type if alone else f"{len(group)} layers" if len(group) > 1 else "1 layer"


def _row(path: str, kind: str, layers: Sequence[LayerTraining], total: int) -> tuple[Entry, ...]:
    macs = sum(layer.macs for layer in layers)
    return entries(
        path,
        kind,
        whole(sum(layer.forward_macs for layer in layers)),
        whole(sum(layer.input_gradient_macs for layer in layers)),
        whole(sum(layer.weight_gradient_macs for layer in layers)),
        share(macs, total),
        size_of(sum(layer.kept_bytes for layer in layers)),
        size_of(sum(layer.moved_bytes for layer in layers)),
    )


def training_totals(cost: TrainingCost) -> list[tuple[str, str]]:
    """The figures of the whole update: pairs of a name and a text."""
    times = (
        f"; an update takes {cost.macs / cost.forward_macs:.4f} times as many" if cost.forward_macs else ""
    )
    return [
        ("MACs", f"{cost.macs:,} for an update of {amount(cost.batch, 'sample')}"),
        ("forward pass", f"{cost.forward_macs:,}{times}"),
        (
            "backward pass",
            f"{cost.input_gradient_macs:,} of inputs and {cost.weight_gradient_macs:,} of weights",
        ),
        ("learned", f"{cost.learned:,} parameters" if cost.learned else "nothing: the forward pass is all"),
        ("kept", f"{size_of(cost.kept_bytes)} between the passes, besides parameters and buffers"),
        ("moved", f"{size_of(cost.moved_bytes)} read and written"),
        *_reservations(cost),
    ]


def _reservations(cost: TrainingCost) -> list[tuple[str, str]]:
    lines = []
    if cost.device != "meta":
        lines.append(("counted", f"by training a copy on the {cost.device}: it needs numbers"))
    if cost.without_rule:
        what = ", ".join(map(printable, cost.without_rule))
        lines.append(("not counted", f"{what}: concord has no rule for these, and the totals leave them out"))
    return lines


def training_comparison(several: Sequence[TrainingCost]) -> Table:
    """Networks side by side; the ratio is to the first."""
    first = several[0]
    header = ("network", "input", "batch", "forward", "update", "ratio", "times forward", "kept", "moved")
    rows = tuple(
        entries(
            one.network,
            one.given,
            whole(one.batch),
            whole(one.forward_macs),
            whole(one.macs),
            ratio(one.macs, first.macs),
            ratio(one.macs, one.forward_macs),
            size_of(one.kept_bytes),
            size_of(one.moved_bytes),
        )
        for one in several
    )
    notes = (
        f"forward, update: multiply-accumulates of a batch. Ratios are to {first.network}.",
        *NOTES[1:],
        *[f"{one.network}: {name} {text}." for one in several for name, text in _reservations(one)],
    )
    return Table("Cost of an update", header, rows, 2, notes)

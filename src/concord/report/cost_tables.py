"""What networks cost, as tables: layer by layer, block by block, and side by side."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from concord.cost.energy import energy
from concord.cost.record import Block, Cost, Layer, grouped
from concord.report.tables import Entry, Table, entries
from concord.report.text import MISSING, visible, whole

FEW = 60  # rows that fit on a screen or two
BITS = (32, 16, 8, 1)


@dataclass(frozen=True)
class Priced:
    """A network, what went into it, and what it cost."""

    name: str
    inputs: tuple[tuple[int, ...], ...]  # shape of one sample of each input
    cost: Cost

    @property
    def given(self) -> str:
        """``3x224x224``; ``1x28x28 + 24`` for a picture and 24 symbols."""
        return " + ".join(map(times, self.inputs))


def times(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape))


def share(part: int, total: int) -> str:
    """In percent; nothing where there is nothing to share."""
    return f"{100 * part / total:.2f}" if total else MISSING


def size_of(count: float) -> str:
    """Bytes in the largest unit that leaves a number above one; 1 kB is 1,000 bytes."""
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= factor:
            return f"{count / factor:,.2f} {unit}"
    return f"{count:,.0f} B"


def joules(number: float) -> str:
    for unit, factor in (("J", 1.0), ("mJ", 1e-3), ("µJ", 1e-6)):
        if number >= factor:
            return f"{number / factor:.3g} {unit}"
    return f"{number / 1e-9:.3g} nJ"


# --- one network -------------------------------------------------------------------


def layer_table(priced: Priced, depth: int | None = None) -> Table:
    """Every layer with the rule that made its numbers; sums of blocks below ``depth`` module names.

    By default all layers where they are few, else the blocks of the first level.
    """
    cost, parts = priced.cost, shown_parts(priced.cost, depth)
    rows = [_block_row(p, cost) if isinstance(p, Block) else _layer_row(p, cost) for p in parts]
    total = entries("all", "", "", whole(cost.parameters), "100.00", whole(cost.macs), "100.00", "")
    header = ("layer", "type", "output", "parameters", "%", "MACs", "%", "receptive field")
    folded = any(isinstance(part, Block) for part in parts)
    notes = (f"Modules are summed up; --depth {(depth or 1) + 1} opens one level more.",) if folded else ()
    return Table(f"{priced.name}, input {priced.given}", header, (*rows, total), 3, notes)


def shown_parts(cost: Cost, depth: int | None) -> list[Block | Layer]:
    """Layers, and blocks that are ``depth`` module names deep."""
    if depth is None:
        depth = 1 if len(cost.layers) > FEW else len(cost.layers)
    return list(_cut(grouped(cost.layers), depth))


def _cut(parts: Sequence[Block | Layer], depth: int) -> Iterator[Block | Layer]:
    for part in parts:
        if isinstance(part, Layer) or depth <= 1:
            yield part
        else:
            yield from _cut(part.parts(), depth - 1)


def _layer_row(layer: Layer, cost: Cost) -> tuple[Entry, ...]:
    return _row(layer, layer.type, times(layer.output[1:]), cost, field_of(layer))


def _block_row(block: Block, cost: Cost) -> tuple[Entry, ...]:
    last = next((layer for layer in reversed(block.layers) if layer.output), block.layers[-1])
    return _row(block, f"{len(block.layers)} layers", times(last.output[1:]), cost, field_of(last))


def _row(part: Block | Layer, kind: str, output: str, cost: Cost, field: str) -> tuple[Entry, ...]:
    return entries(
        part.path or "(network)",
        kind,
        output,
        whole(part.parameters),
        share(part.parameters, cost.parameters),
        whole(part.macs),
        share(part.macs, cost.macs),
        field,
    )


def field_of(layer: Layer) -> str:
    """``29x29 / 8``: what one unit sees, and the stride; nothing where units are not local."""
    local = [f for f in layer.fields if f is not None]
    if not local:
        return ""
    return f"{times([f.size for f in local])} / {strides([float(f.jump) for f in local])}"


def strides(numbers: Sequence[float]) -> str:
    """One number where all axes agree."""
    told = [f"{number:g}" for number in numbers]
    return told[0] if len(set(told)) == 1 else "x".join(told)


def rules_table(priced: Priced, depth: int | None = None) -> Table:
    """The rule of every layer of ``layer_table`` that has parameters or products."""
    layers = [part for part in shown_parts(priced.cost, depth) if isinstance(part, Layer) and part.rule]
    rows = [entries(layer.path or "(network)", layer.rule) for layer in layers]
    return Table("How each number is made", ("layer", "formula = substitution = result"), tuple(rows), 2)


def totals(priced: Priced) -> list[tuple[str, str]]:
    """What is to be said about the whole network: pairs of a name and a figure."""
    cost = priced.cost
    sizes = ", ".join(f"{size_of(cost.file_bytes(bits))} at {bits}" for bits in BITS)
    said = [
        ("parameters", f"{cost.parameters:,}, and {cost.buffers:,} numbers in buffers"),
        ("size with buffers", f"{sizes} bits each"),
        ("MACs", f"{cost.macs:,} ({cost.flops:,} FLOPs, at two for each)"),
        ("other operations", f"{cost.other_operations:,}"),
        ("activations", f"{cost.activations:,} elements, at most {cost.peak_activations:,} alive at once"),
    ]
    low, high = map(joules, energy(cost))
    said.append(("energy", f"{low} to {high}: an estimate (45 nm, every weight and map through DRAM)"))
    if (seen := cost.receptive_field) is not None:
        where = f"up to {visible(seen.path) or '(network)'}, {visible(seen.type)}"
        said.append(("receptive field", f"{times(seen.size)}, stride {strides(seen.stride)}, {where}"))
    else:
        said.append(
            ("receptive field", "none: no layer's units see a part of one input that moves with them")
        )
    if cost.device != "meta":
        said.append(("counted", f"by running it on the {cost.device}: it does not run without numbers"))
    if cost.without_rule:
        said.append(
            (
                "not counted",
                f"{', '.join(cost.without_rule)}: no rule knows what they do, and no total holds it",
            )
        )
    return said


# --- several networks -----------------------------------------------------------------


def comparison(several: Sequence[Priced]) -> Table:
    """Networks side by side; ratios are to the first."""
    first = several[0].cost
    header = (
        "network",
        "input",
        "parameters",
        "ratio",
        "linear %",
        "MACs",
        "ratio",
        "other operations",
        "peak activations",
        "receptive field",
    )
    rows = tuple(
        entries(
            one.name,
            one.given,
            whole(one.cost.parameters),
            ratio(one.cost.parameters, first.parameters),
            share(linear_parameters(one.cost), one.cost.parameters),
            whole(one.cost.macs),
            ratio(one.cost.macs, first.macs),
            whole(one.cost.other_operations),
            whole(one.cost.peak_activations),
            _field(one.cost),
        )
        for one in several
    )
    notes = (
        f"Ratios are to {several[0].name}; linear %: share of the parameters in linear layers; "
        "receptive field: of the last layer whose units see a part of the input.",
    )
    return Table("Cost side by side", header, rows, 2, notes)


def linear_parameters(cost: Cost) -> int:
    """Parameters of fully connected layers."""
    return sum(layer.parameters for layer in cost.layers if layer.type in ("Linear", "addmm", "mm"))


def ratio(part: int, whole_: int) -> str:
    return f"{part / whole_:.4f}" if whole_ else MISSING


def _field(cost: Cost) -> str:
    return times(cost.receptive_field.size) if cost.receptive_field else MISSING

"""What networks cost in all: the figures of one, and several side by side."""

from collections.abc import Sequence

from concord.cost.document import BITS
from concord.cost.energy import energy
from concord.cost.record import Cost, Priced, ReceptiveField, times
from concord.files.text import printable
from concord.report.cost_binary import binary_note, binary_totals
from concord.report.cost_tables import share, strides
from concord.report.tables import Table, entries
from concord.report.text import MISSING, whole

# layers, and products with weights outside a layer
LINEAR = ("Linear", "BinaryConnectLinear", "BWNLinear", "XNORLinear", "addmm", "mm")


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


def totals(priced: Priced) -> list[tuple[str, str]]:
    """The figures of the whole network: pairs of a name and a text."""
    cost = priced.cost
    sizes = ", ".join(f"{size_of(cost.file_bytes(bits))} at {bits}" for bits in BITS)
    lines = [
        ("parameters", f"{cost.parameters:,}, and {cost.buffers:,} values in buffers"),
        ("size with buffers", f"{sizes} bits each"),
        ("MACs", f"{cost.macs:,} ({cost.flops:,} FLOPs, at two for each)"),
        *binary_totals(cost),
        ("other operations", f"{cost.other_operations:,}"),
        ("activations", f"{cost.activations:,} elements, at most {cost.peak_activations:,} alive at once"),
    ]
    low, high = map(joules, energy(cost))
    lines.append(("energy", f"{low} to {high}: an estimate (45 nm, every weight and map through DRAM)"))
    return [*lines, *_field_lines(priced), *reservations(cost)]


def _field_lines(priced: Priced) -> list[tuple[str, str]]:
    """A line for each input of which units see a part."""
    seen = priced.cost.receptive_fields
    if not seen:
        return [("receptive field", "none: no layer has units that see a local part of an input")]
    if len(priced.inputs) == 1:
        return [("receptive field", _field(seen[0]))]
    return [("receptive field", f"{_field(one)}, of input {times(priced.inputs[one.input])}") for one in seen]


def _field(seen: ReceptiveField) -> str:
    where = f"up to {printable(seen.path) or '(network)'}, {printable(seen.type)}"
    starts = [MISSING if start is None else f"{start:g}" for start in seen.start]
    start = starts[0] if len(set(starts)) == 1 else "x".join(starts)
    few = len(set(seen.size)) == 1 and len(seen.phases) == 2
    turns = " ({} and {} by turns)".format(*seen.phases) if few else ""
    return f"{seen.text}{turns}, stride {strides(seen.stride)}, start {start}, {where}"


def reservations(cost: Cost) -> list[tuple[str, str]]:
    """What limits the figures: an empty list for most networks."""
    lines = []
    if cost.device != "meta":
        how = f"by running the network on the {cost.device}, with zeros where only sizes were given"
        why = "it cannot run without numbers, and other numbers may give other figures"
        lines.append(("counted", f"{how}: {why}"))
    if cost.without_rule:
        what = ", ".join(map(printable, cost.without_rule))
        lines.append(("not counted", f"{what}: concord has no rule for these, and the totals leave them out"))
    return lines


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
        "other",
        "peak",
        "field",
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
            _size(one.cost.receptive_field),
        )
        for one in several
    )
    notes = (
        f"Ratios are to {several[0].name}; linear %: share of the parameters in linear layers; other: other "
        "operations; peak: most activations alive at once; field: what a unit of the last local layer sees "
        "where no border cuts it.",
        *[f"{one.name}: {binary_note(one.cost)}" for one in several if one.cost.binary_layers],
        *[f"{one.name}: {name} {text}." for one in several for name, text in reservations(one.cost)],
    )
    return Table("Cost side by side", header, rows, 2, notes)


def _size(seen: ReceptiveField | None) -> str:
    """The size that does not depend on the input; ``at most`` before a bound."""
    if seen is None:
        return MISSING
    known = all(f.all_phases for f in seen.fields if f is not None)
    return f"{'' if known else 'at most '}{times(seen.size)}"


def linear_parameters(cost: Cost) -> int:
    """Parameters of fully connected layers."""
    return sum(layer.parameters for layer in cost.layers if layer.type in LINEAR)


def ratio(part: int, whole_: int) -> str:
    return f"{part / whole_:.4f}" if whole_ else MISSING

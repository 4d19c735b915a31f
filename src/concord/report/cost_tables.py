"""What a network costs, as tables: layer by layer, and block by block."""

from collections.abc import Iterator, Sequence

from concord.cost.record import Block, Cost, Layer, Priced, grouped, times
from concord.report.tables import Entry, Table, entries
from concord.report.text import MISSING, whole

RULES = ("layer", "formula = substitution = result")
FEW = 60  # rows that fit on a screen or two


def share(part: int, total: int) -> str:
    """In percent; "-" of a total of 0."""
    return f"{100 * part / total:.2f}" if total else MISSING


def layer_table(priced: Priced, depth: int | None = None) -> Table:
    """Every layer, and below ``depth`` levels of modules one sum for each module.

    By default all layers of a small network, and the first level of a large one.
    """
    cost, parts = priced.cost, shown_parts(priced.cost, depth)
    rows = [_block_row(p, cost) if isinstance(p, Block) else _layer_row(p, cost) for p in parts]
    figures = whole(cost.parameters), "100.00", whole(cost.macs), "100.00", whole(cost.other_operations)
    total = entries("all", "", "", *figures, "")
    header = ("layer", "type", "output", "parameters", "%", "MACs", "%", "other", "field/stride")
    folded = any(isinstance(part, Block) for part in parts)
    notes = (f"Layers below level {depth or 1} of the modules are summed up.",) if folded else ()
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
    return _row(block, layers_of(block), times(last.output[1:]), cost, field_of(last))


def layers_of(block: Block) -> str:
    return "1 layer" if len(block.layers) == 1 else f"{len(block.layers)} layers"


def _row(part: Block | Layer, kind: str, output: str, cost: Cost, field: str) -> tuple[Entry, ...]:
    return entries(
        part.path or "(network)",
        kind,
        output,
        whole(part.parameters),
        share(part.parameters, cost.parameters),
        whole(part.macs),
        share(part.macs, cost.macs),
        whole(part.other_operations),
        field,
    )


def field_of(layer: Layer) -> str:
    """``29x29 / 8``: receptive field and stride; ``≤`` before a bound, empty where units are not local."""
    local = [f for f in layer.fields if f is not None]
    if not local:
        return ""
    at_most = "" if all(f.all_phases for f in local) else "≤ "
    return f"{at_most}{times([f.unbounded for f in local])} / {strides([float(f.jump) for f in local])}"


def strides(numbers: Sequence[float]) -> str:
    """One number where all axes agree."""
    texts = [f"{number:g}" for number in numbers]
    return texts[0] if len(set(texts)) == 1 else "x".join(texts)


def rules_table(priced: Priced, depth: int | None = None) -> Table:
    """The rule of every layer of ``layer_table``, one figure below the other."""
    layers = [part for part in shown_parts(priced.cost, depth) if isinstance(part, Layer)]
    return Table("How each number is calculated", RULES, rule_rows(layers), 2)


def rule_rows(layers: Sequence[Layer]) -> tuple[tuple[Entry, ...], ...]:
    """The name stands in the first row of each layer."""
    return tuple(
        entries("" if number else layer.path or "(network)", step)
        for layer in layers
        for number, step in enumerate(_with_calls(layer))
    )


def _with_calls(layer: Layer) -> list[str]:
    """The steps of its rule, the last one with the number of calls."""
    steps = layer.steps
    return [*steps[:-1], f"{steps[-1]}; {layer.calls} calls"] if steps and layer.calls > 1 else steps

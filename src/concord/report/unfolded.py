"""A chain of layers unfolded in time."""

from collections.abc import Iterator, Sequence

from torch import nn

from concord.layers.recurrent.recurrent import Recurrent
from concord.layers.temporal import TemporalBlock
from concord.report.over_time import Stage, causal
from concord.report.unfolded_forecast import forecast
from concord.report.unfolded_parts import INPUT, OUTPUT, Arrow, Kind, Row, Unfolded, sizes, states, up
from concord.zoo.convlstm import EncoderForecaster, VectorForecaster


def unfolded(chain: Sequence[Stage], steps: int, ahead: int = 2) -> Unfolded:
    """The chain over that many steps; a forecaster draws ``ahead`` more."""
    for stage in chain:
        if isinstance(stage.module, EncoderForecaster | VectorForecaster):
            return forecast(stage.path, stage.module, steps, ahead)
    rows = [Row(INPUT, "input", "x", "input", 0, range(steps))]
    arrows: list[Arrow] = []
    below = rows[:]
    for stage in chain:
        found = list(_rows(stage, below, len(rows), steps))
        for new, into in found:
            rows.append(new)
            arrows += into
        below = _top(stage, [new for new, _ in found])
    output = Row(OUTPUT, "output", "y", "output", len(rows), below[0].steps)
    return Unfolded((*rows, output), (*arrows, *up(below, output)), steps)


def _rows(stage: Stage, below: Sequence[Row], height: int, steps: int) -> Iterator[tuple[Row, list[Arrow]]]:
    """The rows of a stage from the lowest on, each with the arrows into it."""
    module = stage.module
    if isinstance(module, Recurrent):
        yield from _recurrent(stage.path, module, below, height, steps)
    elif isinstance(module, TemporalBlock):
        yield from _temporal(stage.path, module, below, height, steps)
    else:
        kind: Kind = "embedding" if isinstance(module, nn.Embedding) else "dense"
        made = range(steps) if stage.every else range(steps - 1, steps)
        row = Row(stage.path, kind, type(module).__name__, sizes(module), height, made)
        yield row, up(below, row)


def _top(stage: Stage, rows: list[Row]) -> list[Row]:
    """What the next stage reads: both directions of the last layer, or the last row."""
    both = isinstance(stage.module, Recurrent) and stage.module.directions == 2
    return rows[-2:] if both else rows[-1:]


def _recurrent(
    path: str, module: Recurrent, below: Sequence[Row], height: int, steps: int
) -> Iterator[tuple[Row, list[Arrow]]]:
    for k in range(0, len(module.cells), module.directions):
        layer = []
        for direction in range(module.directions):
            cell, name = module.cells[k + direction], f"{path}.cells.{k + direction}"
            side = 0 if module.directions == 1 else 2 * direction - 1
            note = sizes(cell) + {-1: ", forwards", 0: "", 1: ", backwards"}[side]
            row = Row(name, "cell", type(cell).__name__, note, height + k + direction, range(steps), side)
            layer.append(row)
            yield row, up(below, row) + states(row, cell, backwards=side > 0)
        below = layer


def _temporal(
    path: str, block: TemporalBlock, below: Sequence[Row], height: int, steps: int
) -> Iterator[tuple[Row, list[Arrow]]]:
    """Two causal convolutions; the second row is what the block gives, its shortcut added."""
    convs = causal(path, block)
    (source,), read = below, below
    for number, (name, conv) in enumerate(convs):
        last = number == len(convs) - 1
        k, d = conv.kernel_size[0], conv.dilation[0]
        note = f"{conv.out_channels} channels, kernel {k}, dilation {d}"
        row = Row(path if last else name, "cell", "conv", note, height + number, range(steps))
        seen = [(t - j * d, t) for t in row.steps for j in range(k) if t >= j * d]
        into = [Arrow((one.name, s), (row.name, t), "input") for one in read for s, t in seen]
        if last and source not in read:
            into += [Arrow((source.name, t), (row.name, t), "shortcut") for t in row.steps]
        yield row, into
        read = [row]

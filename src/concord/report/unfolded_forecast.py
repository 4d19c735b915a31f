"""An encoder and a forecaster unfolded in time, beside each other."""

from torch import nn

from concord.report.over_time import Forecaster
from concord.report.unfolded_parts import INPUT, OUTPUT, Arrow, Row, Unfolded, carried, sizes, states, up
from concord.zoo.convlstm import EncoderForecaster


def forecast(path: str, network: Forecaster, steps: int, ahead: int) -> Unfolded:
    """The encoder beside the forecaster, whose layers begin with the encoder's states, the highest first."""
    prefix = f"{path}." if path else ""
    before, behind = range(steps), range(steps, steps + ahead)
    rows = [Row(INPUT, "input", "x", "frames", 0, before)]
    arrows: list[Arrow] = []
    for i, cell in enumerate(network.encoder):
        row = _cell_row(f"{prefix}encoder.{i}", cell, i + 2, before)
        arrows += up(rows[-1:], row) + states(row, cell)
        rows.append(row)
    encoder = rows[1:]
    forecaster: list[Row] = []
    for i, (cell, source) in enumerate(zip(network.forecaster, reversed(encoder), strict=True)):
        row = _cell_row(f"{prefix}forecaster.{i}", cell, source.height, behind)
        label = carried(cell)
        arrows += up(forecaster[-1:], row) + states(row, cell)
        arrows.append(Arrow((source.name, steps - 1), (row.name, steps), "copy", label))
        forecaster.append(row)
    every = isinstance(network, EncoderForecaster)
    head = Row(f"{prefix}head", "dense", type(network.head).__name__, sizes(network.head), 1, behind)
    output = Row(OUTPUT, "output", "y", "next frames", 0, behind)
    arrows += up(forecaster if every else forecaster[-1:], head) + up([head], output)
    return Unfolded((*rows, *forecaster, head, output), tuple(arrows), steps)


def _cell_row(name: str, cell: nn.Module, height: int, steps: range) -> Row:
    return Row(name, "cell", type(cell).__name__, sizes(cell), height, steps)

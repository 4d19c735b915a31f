"""How far back a gradient reaches: |dL/dh_t| against t, for cells as they are before any training.

Source of the question: Y. Bengio, P. Simard, P. Frasconi, "Learning long-term dependencies with gradient
descent is difficult", IEEE Transactions on Neural Networks 5, 1994; of the three cells side by side: Kalkan.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import log10
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from concord.layers.recurrent.cell import Cell
from concord.layers.recurrent.gru import GRU
from concord.layers.recurrent.lstm import LSTM
from concord.layers.recurrent.probe import gradient_norms, state_gradients
from concord.layers.recurrent.rnn import RNN
from concord.report.svg import COLOURS, svg

if TYPE_CHECKING:
    from matplotlib.figure import Figure

STEPS, BATCH, INPUTS, HIDDEN = 100, 4, 8, 32
RADII = (0.5, 1.0, 1.5)  # of the recurrent matrix of the RNN
BIASES = (0.0, 1.0, 5.0)  # of the forget gate of the LSTM and of the gate of the GRU that keeps the state
LOWEST = 1e-16  # of the axis: what lies below is nothing beside a number of its size in double precision


@dataclass(frozen=True)
class GradientLine:
    """|dL/dh_t| from t = 0, the initial state, to T: the mean over samples."""

    cell: str
    start: str  # what its first values have that the others of its cell have not
    norms: tuple[float, ...]


def norms_over_time(cell: Cell, x: Tensor, v: Tensor) -> Tensor:
    """|dL/dh_t| for L = v · h_T, the mean over samples. Shape: (T, B, D), (H,) -> (T + 1,)"""
    return gradient_norms(state_gradients(cell, x, lambda y: (y[-1] @ v).sum())).mean(1)


def gradient_lines(seed: int = 0) -> list[GradientLine]:
    """An RNN, an LSTM and a GRU with three starts each, on the same inputs; torch's generator stays."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        x = torch.randn(STEPS, BATCH, INPUTS, dtype=torch.float64)
        v = torch.randn(HIDDEN, dtype=torch.float64)
        v /= v.norm()
        return [
            GradientLine(type(cell).__name__, start, tuple(norms_over_time(cell.double(), x, v).tolist()))
            for cell, start in _cells()
        ]


@torch.no_grad()
def _cells() -> list[tuple[Cell, str]]:
    cells: list[tuple[Cell, str]] = []
    for radius in RADII:
        rnn = RNN(INPUTS, HIDDEN)
        rnn.weight_x.mul_(0.1)  # the units stay near 0, where tanh has its slope of 1
        rnn.weight_h.mul_(radius)  # an orthogonal matrix: all of its eigenvalues have that size
        cells.append((rnn, f"|eigenvalues| {radius:g}"))
    for bias in BIASES:
        cells.append((LSTM(INPUTS, HIDDEN, forget_bias=bias), f"forget bias {bias:g}"))
    for bias in BIASES:
        gru = GRU(INPUTS, HIDDEN)
        assert gru.bias is not None
        gru.bias[HIDDEN : 2 * HIDDEN] = bias
        cells.append((gru, f"bias of z {bias:g}"))
    return cells


def gradient_figure(lines: Sequence[GradientLine], *, title: str) -> str:
    """A panel for each cell, on one logarithmic axis."""
    cells = list(dict.fromkeys(line.cell for line in lines))

    def draw(figure: "Figure") -> None:
        panels = figure.subplots(1, len(cells), sharey=True, squeeze=False)[0]
        for ax, cell in zip(panels, cells, strict=True):
            shown = [line for line in lines if line.cell == cell]
            for line, colour in zip(shown, COLOURS, strict=False):
                ax.plot(range(len(line.norms)), line.norms, color=colour, label=line.start)
            ax.set_yscale("log")
            ax.set_title(cell, loc="left")
            ax.set_xlabel("step t")
            ax.grid(axis="y")
            ax.legend(loc="lower right" if cell != "RNN" else "best")
        panels[0].yaxis.set_major_formatter(lambda value, _: f"1e{round(log10(value))}")
        top = max(max(line.norms) for line in lines)
        panels[0].set(ylabel="|dL/dh_t|", ylim=(LOWEST, 10 * top))

    return svg(3.4 * len(cells), 3.2, title, draw)

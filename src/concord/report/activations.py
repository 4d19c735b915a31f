"""The state of recurrent networks against the position in what they read.

Source of the figure: G. Weiss, Y. Goldberg, E. Yahav, "On the practical computational power of finite
precision RNNs for language recognition", ACL 2018, section 5; shown by Kalkan.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from concord.layers.recurrent.cell import Cell
from concord.report.svg import CLASS_COLOURS, FAINT, svg

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

POINTS = 120  # of each line; between them states are left out


@dataclass(frozen=True)
class StatePanel:
    """The state of one network while it reads one sequence."""

    title: str
    states: Tensor  # (T + 1, H), from the initial state on
    marks: tuple[int, ...] = ()  # positions at which the sequence changes


@torch.no_grad()
def states_over_time(cell: Cell, x: Tensor) -> Tensor:
    """What the cell remembers: c of an LSTM, h of others, from the initial state on.

    Shape: one sequence (T, D) -> (T + 1, H)
    """
    state = cell.initial(1)
    found = [state[-1][0]]
    for projected in cell.project(x[:, None]).unbind(0):
        state = cell.step(projected, state)
        found.append(state[-1][0])
    return torch.stack(found)


def activation_figure(panels: Sequence[Sequence[StatePanel]], *, title: str) -> str:
    """Rows of panels, one line for each unit; a dashed line where the sequence changes."""
    columns = max(map(len, panels))

    def draw(figure: "Figure") -> None:
        axes = figure.subplots(len(panels), columns, squeeze=False)
        for places, row in zip(axes, panels, strict=True):
            for ax, panel in zip(places, row, strict=True):
                _panel(ax, panel)
        for ax in axes[-1]:
            ax.set_xlabel("position")

    return svg(4.6 * columns, 2.1 * len(panels) + 0.3, title, draw)


def _panel(ax: "Axes", panel: StatePanel) -> None:
    last = len(panel.states) - 1
    shown = sorted({*range(0, last + 1, max(1, last // POINTS)), *panel.marks, last})
    for unit in range(panel.states.shape[1]):
        colour = CLASS_COLOURS[unit % len(CLASS_COLOURS)]
        ax.plot(shown, panel.states[shown, unit].tolist(), color=colour, linewidth=1.1)
    for mark in panel.marks:
        ax.axvline(mark, color=FAINT, linewidth=0.9, linestyle=(0, (3, 2)))
    ax.set_title(panel.title, loc="left")
    ax.set_xlim(0, last)

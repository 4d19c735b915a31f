"""The training curve of the plain network: loss of every step and epoch, accuracy of every epoch."""

from collections.abc import Sequence
from math import nan
from typing import TYPE_CHECKING

from concord.report.svg import COLOURS, GREYS, svg

if TYPE_CHECKING:
    from matplotlib.figure import Figure

HIGHEST = 1e6


def curve(losses: Sequence[float], epochs: Sequence[tuple[float, float]], steps: int) -> str:
    """An SVG with the loss of each step as a dot, mean loss and accuracy of each epoch as lines.

    ``epochs`` has (mean loss, accuracy) of each; an epoch has so many ``steps``, the last one may have fewer.
    Losses above 1e6 are beyond any scale and left out.
    """
    losses = [loss if loss < HIGHEST else nan for loss in losses]
    epochs = [(loss if loss < HIGHEST else nan, accuracy) for loss, accuracy in epochs]
    ends = range(1, len(epochs) + 1)

    def draw(figure: "Figure") -> None:
        left, right = figure.subplots(1, 2)
        left.plot(
            [(n + 1) / steps for n in range(len(losses))],
            losses,
            ".",
            color=GREYS[2],
            markersize=4,
            label="step",
        )
        left.plot(
            ends, [loss for loss, _ in epochs], color=COLOURS[0], marker="o", markersize=3, label="epoch"
        )
        left.set_ylabel("cross-entropy (nats)")
        left.set_ylim(bottom=0)
        left.legend()
        right.plot(ends, [100 * right_ for _, right_ in epochs], color=COLOURS[0], marker="o", markersize=3)
        right.set_ylabel("accuracy in training (%)")
        right.set_ylim(0, 103)
        for ax in (left, right):
            ax.set_xlabel("epoch")
            ax.set_xlim(left=0)
            ax.xaxis.get_major_locator().set_params(integer=True)
            ax.grid(True)

    return svg(8.0, 2.9, "Loss and accuracy while the plain network trains", draw)

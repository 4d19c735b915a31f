"""A digit through max pooling, and a gradient back to the winners."""

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from sklearn.datasets import load_digits

from concord.plain.pooling import MaxPooling
from concord.report.svg import COLOURS, svg


def ink(number: float) -> str:
    return "white" if number > 10 else "#222222"


def picture() -> str:
    digit = load_digits().images[5]
    pooling = MaxPooling((8, 8, 1), 2)
    pooled = np.array(pooling.forward(digit.tolist()))
    dx = np.array(pooling.backward(pooled.tolist()))  # each result asks for as much as it is

    def draw(figure: Figure) -> None:
        axes = figure.subplots(1, 3)
        titles = ("x and its winners", "y = max of every 2x2", "dL/dx for dL/dy = y")
        for ax, numbers, title in zip(axes, (digit, pooled, dx), titles, strict=True):
            ax.imshow(numbers, cmap="gray_r", vmin=0, vmax=24)
            for (i, j), number in np.ndenumerate(numbers):
                if number:
                    ax.text(j, i, f"{number:.0f}", ha="center", va="center", fontsize=8, color=ink(number))
            ax.set_title(title)
            ax.set_xticks([])
            ax.set_yticks([])
        for axis in (axes[0], axes[2]):
            for i, won in enumerate(pooling.winners):
                for j, winner in enumerate(won):
                    corner = (2 * j + winner % 2 - 0.5, 2 * i + winner // 2 - 0.5)
                    axis.add_patch(Rectangle(corner, 1, 1, fill=False, edgecolor=COLOURS[1], linewidth=1.4))
            for line in (1.5, 3.5, 5.5):
                axis.axhline(line, color="#b8b8b8", linewidth=0.7)
                axis.axvline(line, color="#b8b8b8", linewidth=0.7)

    return svg(7.8, 2.9, "The largest number of every window goes on, and the gradient returns to it", draw)

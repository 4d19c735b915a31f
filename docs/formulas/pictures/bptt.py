"""How the gradient of one loss shrinks or grows on its way back through time."""

from math import hypot
from random import Random

import numpy as np
from matplotlib.figure import Figure

from concord.plain import rnn
from concord.plain.rnn import RNN
from concord.report.svg import COLOURS, svg

HIDDEN, STEPS = 8, 50


def cell_of(stretch: float) -> RNN:
    """W_hh = stretch * a rotation; the other weights are small."""
    random = np.random.default_rng(0)
    rotation, _ = np.linalg.qr(random.normal(size=(HIDDEN, HIDDEN)))
    return RNN(
        random.normal(size=(HIDDEN, 1)).tolist(),
        (stretch * rotation).tolist(),
        random.normal(size=(2, HIDDEN)).tolist(),
        [0.0] * HIDDEN,
        [0.0, 0.0],
        [0.0] * HIDDEN,
    )


def sizes(cell: RNN) -> list[float]:
    """||dL_T/dh_(T-k)|| for k = 1 ... T: of all losses from there on, less all but L_T."""
    random = Random(0)
    inputs, labels = [[random.gauss(0, 0.002)] for _ in range(STEPS)], [0] * STEPS
    states = rnn.forward(cell, inputs).states
    found = []
    for k in range(2, STEPS + 1):
        later = RNN(cell.W_xh, cell.W_hh, cell.W_hy, cell.b_h, cell.b_y, states[STEPS - k])
        whole, less = (start_gradient(later, inputs[STEPS - k : end], labels) for end in (STEPS, STEPS - 1))
        found.append(hypot(*(a - b for a, b in zip(whole, less, strict=True))))
    return found


def start_gradient(cell: RNN, inputs: list[list[float]], labels: list[int]) -> list[float]:
    """dL/dh_0"""
    few = labels[: len(inputs)]
    return rnn.backward(cell, inputs, few, rnn.forward(cell, inputs)).h_0


def picture() -> str:
    curves = {stretch: sizes(cell_of(stretch)) for stretch in (1.1, 1.0, 0.8)}

    def draw(figure: Figure) -> None:
        ax = figure.subplots()
        for colour, (stretch, found) in zip(COLOURS, curves.items(), strict=False):
            ax.plot(range(2, STEPS + 1), found, color=colour, label=f"{stretch:g} x rotation")
            ax.annotate(f"{found[-1]:.2g}", (STEPS + 0.5, found[-1]), color=colour, va="center")
        ax.set_yscale("log")
        ax.yaxis.set_major_formatter("{x:g}")
        ax.set_xlim(1, STEPS + 4)
        ax.set_xlabel("k, steps back in time")
        ax.set_ylabel("size of dL_T/dh_(T-k)")
        ax.grid(True)
        ax.legend()

    return svg(6.8, 3.1, "The gradient vanishes for small and grows for large recurrent weights", draw)

"""XOR learned by two hidden units of concord.plain's multilayer perceptron."""

import numpy as np
from matplotlib.figure import Figure

from concord.plain import mlp
from concord.plain.mlp import hyperbolic, sigmoid
from concord.report.svg import COLOURS, svg

XOR, TARGETS = [[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]], [[0.0], [1.0], [1.0], [0.0]]


def picture() -> str:
    layers = mlp.start((2, 2, 1), (hyperbolic, sigmoid), seed=0)
    curve = mlp.train(layers, XOR, TARGETS, rate=0.5, epochs=500)
    side = np.linspace(-0.5, 1.5, 61)
    surface = [[mlp.forward(layers, [a, b]).outputs[-1][0] for a in side] for b in side]

    def draw(figure: Figure) -> None:
        left, right = figure.subplots(1, 2, width_ratios=(1, 1.25))
        image = left.imshow(
            surface, extent=(-0.5, 1.5, -0.5, 1.5), origin="lower", cmap="PuOr", vmin=0, vmax=1, alpha=0.8
        )
        left.contour(side, side, surface, levels=[0.5], colors="#222222", linewidths=1.2)
        for (a, b), (y,) in zip(XOR, TARGETS, strict=True):
            left.text(a, b, f"{y:.0f}", ha="center", va="center", fontsize=13, fontweight="bold")
        left.set_xticks([0, 1])
        left.set_yticks([0, 1])
        left.set_title("output; black: 1/2")
        figure.colorbar(image, ax=left, ticks=[0, 0.5, 1])
        right.plot(curve, color=COLOURS[0])
        right.set_ylim(bottom=0)
        right.set_xlabel("updates")
        right.set_ylabel("E, sum of squares over four samples")
        right.grid(True)

    return svg(7.8, 3.1, "The decision surface of a network that has learned XOR, and its curve", draw)

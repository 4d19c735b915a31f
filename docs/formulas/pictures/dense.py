"""Cross-entropy of two classes, its clipped form, and its gradient."""

from math import log

import numpy as np
from matplotlib.figure import Figure

from concord.plain.losses import cross_entropy, cross_entropy_slope, softmax
from concord.report.svg import COLOURS, svg


def picture() -> str:
    ahead = np.linspace(-60, 20, 321)
    exact = [cross_entropy([z, 0.0], 0) for z in ahead]
    clipped = [-log(max(softmax([z, 0.0])[0], 1e-15)) for z in ahead]
    near = np.linspace(-8, 8, 161)
    slope = [cross_entropy_slope([z, 0.0], 0)[0] for z in near]

    def draw(figure: Figure) -> None:
        left, right = figure.subplots(1, 2)
        left.plot(ahead, exact, color=COLOURS[0], label="-ln p, maximum taken off")
        left.plot(ahead, clipped, color=COLOURS[1], linestyle="--", label="-ln max(p, 1e-15)")
        left.annotate(f"{clipped[0]:.4f}", (-59, clipped[0] + 1), color=COLOURS[1])
        left.set_ylabel("loss L (nats)")
        left.legend()
        right.plot(near, slope, color=COLOURS[0])
        right.set_ylabel("dL/dz of the right class = p - 1")
        for ax in (left, right):
            ax.set_xlabel("right logit minus wrong logit")
            ax.grid(True)

    return svg(7.8, 3.0, "Cross-entropy and its gradient against the difference of two logits", draw)

"""The strip of a linear support vector machine, hard and soft."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from sklearn.svm import SVC

from concord.baseline.svm import margin
from concord.report.svg import COLOURS, INK, svg


def clouds() -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(3)
    x = np.concatenate([random.normal((-1.6, -0.8), 0.7, (25, 2)), random.normal((1.6, 1.2), 0.7, (25, 2))])
    return x, np.repeat([-1, 1], 25)


def show(ax: Axes, x: np.ndarray, y: np.ndarray, price: float) -> None:
    svc = SVC(kernel="linear", C=price).fit(x, y)
    side = np.linspace(-4, 4, 80)
    plane = svc.decision_function(np.stack(np.meshgrid(side, side), -1).reshape(-1, 2)).reshape(80, 80)
    ax.contourf(side, side, plane, levels=[-1, 1], colors=["#f0f0f0"])
    ax.contour(side, side, plane, levels=[-1, 0, 1], colors=INK, linestyles=["--", "-", "--"], linewidths=1)
    for label, colour, marker in ((-1, COLOURS[0], "o"), (1, COLOURS[1], "s")):
        ax.plot(*x[y == label].T, marker, color=colour, markersize=4)
    ax.plot(*svc.support_vectors_.T, "o", markersize=9, fillstyle="none", color=INK, markeredgewidth=0.9)
    ax.set_title(
        f"C = {price:g}: margin {margin(svc):.2f}, {len(svc.support_)} support vectors", fontsize=9.5
    )
    ax.set_xticks([])
    ax.set_yticks([])
    ax.set_aspect("equal")


def picture() -> str:
    x, y = clouds()
    crossed = np.concatenate([x, [[0.5, 0.8], [-0.6, -0.3]]])
    labels = np.concatenate([y, [-1, 1]])

    def draw(figure: Figure) -> None:
        left, middle, right = figure.subplots(1, 3)
        show(left, x, y, 1e4)
        show(middle, crossed, labels, 0.1)
        show(right, crossed, labels, 1e2)

    return svg(
        9.6, 3.4, "Support vectors and the widest strip, for separable and for overlapping classes", draw
    )

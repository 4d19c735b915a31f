"""Updates of the perceptron on random separable sets, against the bound of its theorem."""

from math import hypot
from random import Random

from matplotlib.figure import Figure

from concord.plain.perceptron import novikoff_bound, perceptron
from concord.plain.vectors import add_scaled, dot, scaled
from concord.report.svg import COLOURS, INK, svg


def drawn(seed: int) -> tuple[list[list[float]], list[int], list[float], float]:
    """Samples of both classes, each at least gamma on its side of a random plane (w, b)."""
    random = Random(seed)
    w = [random.gauss(0, 1) for _ in range(random.randint(2, 6))]
    w = scaled(1 / hypot(*w), w)
    b, gamma = random.uniform(-1, 1), 10 ** random.uniform(-2, 0.3)
    samples, labels = [], [1 if n % 2 else -1 for n in range(random.randint(4, 40))]
    for y in labels:
        x = [random.gauss(0, 2) for _ in w]
        away = y * (gamma + random.expovariate(2)) - dot(w, x) - b
        samples.append(add_scaled(x, away, w))
    return samples, labels, w, b


def picture() -> str:
    bounds, counts = [], []
    for seed in range(300):
        samples, labels, w, b = drawn(seed)
        found = perceptron(samples, labels, epochs=100_000)
        bounds.append(novikoff_bound(samples, labels, w, b))
        counts.append(found.updates)

    def draw(figure: Figure) -> None:
        ax = figure.subplots()
        ends = [min(bounds), max(bounds)]
        ax.plot(ends, ends, color=INK, linewidth=1.2)
        ax.annotate(
            "as many as the theorem allows", (300, 560), rotation=29, ha="center", rotation_mode="anchor"
        )
        ax.plot(bounds, counts, "o", markersize=3.5, color=COLOURS[0], alpha=0.6, markeredgewidth=0)
        ax.set_xscale("log")
        ax.set_yscale("log")
        for axis in (ax.xaxis, ax.yaxis):
            axis.set_major_formatter("{x:,.0f}")
        ax.set_xlabel("(2 R / gamma)²")
        ax.set_ylabel("updates k")
        ax.grid(True)

    return svg(6.6, 3.6, "Updates of the perceptron lie below the bound on 300 random sets", draw)

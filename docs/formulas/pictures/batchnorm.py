"""Three channels before and after batch normalisation."""

from random import Random

from matplotlib.figure import Figure

from concord.plain import batchnorm
from concord.report.svg import COLOURS, svg


def picture() -> str:
    random = Random(0)
    channels = {
        "narrow, far to the left": [random.gauss(-6, 0.6) for _ in range(600)],
        "wide": [random.gauss(2, 2.5) for _ in range(600)],
        "skewed": [6 + random.expovariate(0.7) for _ in range(600)],
    }
    after = {name: batchnorm.forward(x, gamma=1.0, beta=0.0).y for name, x in channels.items()}

    def draw(figure: Figure) -> None:
        left, right = figure.subplots(1, 2)
        for ax, sets in ((left, channels), (right, after)):
            for colour, (name, x) in zip(COLOURS, sets.items(), strict=False):
                ax.hist(x, bins=30, color=colour, alpha=0.25)
                ax.hist(x, bins=30, color=colour, histtype="step", linewidth=1.4, label=name)
            ax.set_yticks([])
            ax.spines["left"].set_visible(False)
        left.set_title("x")
        left.set_ylim(top=left.get_ylim()[1] * 1.45)
        left.legend(loc="upper left")
        right.set_title("(x - mean) / sqrt(variance + eps)")

    return svg(7.8, 2.9, "Histograms of three channels before and after batch normalisation", draw)

"""The mean over masks goes to what is computed while testing."""

from itertools import accumulate
from random import Random

from matplotlib.figure import Figure

from concord.plain import dropout
from concord.report.svg import COLOURS, FAINT, svg

X, P, MASKS = [1.0], 0.7, 1000


def means(form, random: Random) -> list[float]:
    """The mean of y over the first 1, 2, ... masks."""
    values = [form(X, dropout.draw_mask(1, P, random))[0] for _ in range(MASKS)]
    return [total / n for n, total in enumerate(accumulate(values), 1)]


def picture() -> str:
    forms = {
        "PyTorch: m x / p": (lambda x, mask: dropout.inverted(x, mask, P), X[0]),
        "source: m x": (dropout.forward, dropout.while_testing(X, P)[0]),
    }

    def draw(figure: Figure) -> None:
        ax = figure.subplots()
        for colour, (name, (form, tested)) in zip(COLOURS, forms.items(), strict=False):
            for seed in range(6):
                label = name if seed == 0 else None
                numbers = range(1, MASKS + 1)
                ax.plot(
                    numbers, means(form, Random(seed)), color=colour, linewidth=1, alpha=0.75, label=label
                )
            ax.axhline(tested, color=FAINT, linewidth=1, linestyle="--")
            ax.annotate(f"while testing: {tested:g}", (MASKS, tested + 0.03), ha="right")
        ax.set_xscale("log")
        ax.xaxis.set_major_formatter("{x:g}")
        ax.set_xlim(1, MASKS)
        ax.set_ylim(0, 1.6)
        ax.set_xlabel("number of masks")
        ax.set_ylabel("mean of y over them")
        ax.legend(loc="lower right")

    return svg(6.6, 3.1, "The mean of a neuron over random masks goes to its value while testing", draw)

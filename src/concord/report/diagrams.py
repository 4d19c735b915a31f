"""What a classifier confuses, and whether its confidence can be believed."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from concord.report.predictions import Reliability
from concord.report.svg import COLOURS, FAINT, ON_IMAGE, svg
from concord.report.text import short

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from torch import Tensor

COUNTED = 20  # classes up to which every cell of the confusion matrix shows its count
NAMED = 60  # classes up to which every row and column has its name
CELL = 0.42  # inches
WIDE = 0.62  # width of a letter over the size of its font


def confusion_matrix(counts: "Tensor", classes: Sequence[str], *, title: str) -> str:
    """Counts (K, K), true classes down, predicted ones across. The shade is the share of the true class.

    Mistakes are shaded on a scale of their own: on a good classifier one in a hundred must still be seen.
    """
    size = len(classes)
    names = [short(name, 20) for name in classes]

    def draw(figure: "Figure") -> None:
        import numpy as np

        ax = figure.subplots()
        shares = counts.double() / counts.sum(1, keepdim=True).clamp(min=1)
        right = np.eye(size, dtype=bool)
        wrong = np.ma.masked_array(shares.numpy(), right | (counts.numpy() == 0))
        ax.imshow(
            np.where(right, shares.numpy(), np.nan), cmap="Blues", vmin=0, vmax=1.6, interpolation="none"
        )
        top = float(wrong.max()) if wrong.count() else 1.0
        ax.imshow(wrong, cmap="Oranges", vmin=0, vmax=1.4 * top, interpolation="none")
        if size <= COUNTED:
            for (t, p), count in np.ndenumerate(counts.numpy()):
                if count:
                    ax.text(
                        p, t, f"{count}", ha="center", va="center", color=ON_IMAGE, fontsize=_fitting(count)
                    )
        if size <= NAMED:
            points = 9 if size <= 20 else 7
            ax.set_xticks(range(size), names, fontsize=points)
            ax.set_yticks(range(size), names, fontsize=points)
            if max(map(len, names)) * points * WIDE > 72 * CELL:  # wider than a column: they would overlap
                for label in ax.get_xticklabels():
                    label.set(rotation=90, va="top", ha="center")
        ax.set(xlabel="predicted", ylabel="true")
        ax.tick_params(length=0)

    named = WIDE * 9 / 72 * max(map(len, names)) if size <= NAMED else 0.0
    side = min(max(2.4, CELL * size), 8.5)
    return svg(side + named + 0.6, side + named + 0.6, title, draw)


def _fitting(count: int) -> float:
    """Points in which a count fits its cell."""
    return min(9.0, 72 * CELL / (WIDE * (len(str(count)) + 1)))


def reliability_diagram(bins: Reliability, *, title: str) -> str:
    """Accuracy per bin of confidence against the diagonal of perfect calibration; bin counts below."""

    def draw(figure: "Figure") -> None:
        import numpy as np

        top, below = figure.subplots(2, 1, height_ratios=(3, 1), sharex=True)
        n = len(bins.count)
        middles = (np.arange(n) + 0.5) / n
        filled = bins.count.numpy() > 0
        top.plot([0, 1], [0, 1], color=FAINT, linewidth=1, linestyle=(0, (4, 2)))
        top.bar(middles[filled], bins.accuracy.numpy()[filled], 0.92 / n, color=COLOURS[0])
        top.plot(
            bins.confidence.numpy()[filled],
            bins.accuracy.numpy()[filled],
            "o",
            color=COLOURS[1],
            markersize=4,
        )
        top.set(ylabel="share correct", xlim=(0, 1), ylim=(0, 1.02))
        top.set_title(f"ECE {bins.ece:.4f}", loc="left")
        below.bar(middles, bins.count.numpy(), 0.92 / n, color=FAINT)
        below.set(xlabel="confidence", ylabel="images")
        if bins.count.max() > 1:
            below.set_yscale("symlog", linthresh=10)
            below.set_yticks([0, *(10**k for k in range(1, len(str(int(bins.count.max())))))])
            below.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
            below.minorticks_off()

    return svg(4.2, 4.2, title, draw)

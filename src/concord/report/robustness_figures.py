"""Error against eps, and the picture of an attack: image + change = image'."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from concord.report.curves import LABEL
from concord.report.pictures import as_picture
from concord.report.svg import COLOURS, FAINT, INK, svg
from concord.report.text import short
from concord.runs.attack_records import Triple

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from torch import Tensor

ACROSS = 2  # triples beside each other


class Interval(Protocol):
    """A share and its interval."""

    @property
    def share(self) -> float: ...
    @property
    def low(self) -> float: ...
    @property
    def high(self) -> float: ...


@dataclass(frozen=True)
class Line:
    """The error of one network, for growing eps."""

    label: str
    eps: Sequence[float]
    errors: Sequence[Interval]


def eps_chart(lines: Sequence[Line], *, title: str) -> str:
    """Error in per cent over eps; the bands are the intervals."""

    def draw(figure: "Figure") -> None:
        ax = figure.subplots()
        for number, line in enumerate(lines):
            colour = COLOURS[number % len(COLOURS)]
            dash = ("-", "-.", ":")[number // len(COLOURS) % 3]
            ax.plot(
                line.eps,
                [100 * e.share for e in line.errors],
                color=colour,
                linestyle=dash,
                marker="o",
                markersize=4,
                label=short(line.label, LABEL),
            )
            low, high = [100 * e.low for e in line.errors], [100 * e.high for e in line.errors]
            ax.fill_between(line.eps, low, high, color=colour, alpha=0.12, linewidth=0)
        ax.set(xlabel="eps", ylabel="error, %", ylim=(0, 102))
        ax.grid(axis="y")
        figure.legend(loc="outside right upper")

    return svg(7.2, 3.4, title, draw)


def largest_change(several: Sequence[Triple]) -> float:
    """The largest change of a pixel in any of them."""
    return max(float((one.after - one.before).abs().max()) for one in several)


def triples(several: Sequence[Triple], added: str, *, title: str) -> str:
    """image + change = image', two in a row; all changes have one scale, ``added`` stands above them."""
    down = -(-len(several) // ACROSS)
    across = min(len(several), ACROSS)
    limit = max(largest_change(several), 1e-12)

    def draw(figure: "Figure") -> None:
        figure.set_layout_engine("constrained", h_pad=0.08, w_pad=0.02)
        widths = [1, 1, 1, 0.4] * across
        axes = figure.subplots(down, 4 * across, squeeze=False, width_ratios=widths)
        for ax in axes.flat:
            ax.axis("off")
        for number, one in enumerate(several):
            row, place = divmod(number, ACROSS)
            first, second, third = axes[row, 4 * place : 4 * place + 3]
            _image(first, one.before, f"predicted {short(one.truth, 12)}\n{100 * one.sure_before:.1f} %")
            _image(second, (one.after - one.before) / limit / 2 + 0.5, added)
            _image(third, one.after, f"predicted {short(one.predicted, 12)}\n{100 * one.sure_after:.1f} %")
            for ax, sign in ((second, "+"), (third, "=")):
                ax.text(-0.16, 0.5, sign, transform=ax.transAxes, ha="center", va="center", fontsize=13)

    return svg(1.45 * 3 * across + 0.4, 1.85 * down + 0.1, title, draw)


def _image(ax: "Axes", image: "Tensor", text: str) -> None:
    pixels, grey = as_picture(255 * image.clamp(0, 1))
    scaled = pixels / 255
    ax.imshow(scaled, cmap="gray" if grey else None, vmin=0, vmax=1, interpolation="none")
    ax.axis("on")
    ax.set(xticks=[], yticks=[])
    ax.spines[:].set(visible=True, color=FAINT)
    ax.set_title(text, fontsize=9, color=INK)

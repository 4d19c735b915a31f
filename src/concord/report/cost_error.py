"""What a page opens with: error against cost with 95 % intervals, and differences to the plain ensemble."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from typing import TYPE_CHECKING

from concord.report.curves import LABEL
from concord.report.svg import COLOURS, FAINT, GREYS, INK, PAPER, svg
from concord.report.text import short

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SMALLEST, LARGEST = 5, 12  # diameters of marks, in points
WIDTH = 5.3  # inches: readable on a telephone, two of them side by side on a desk
APART = 1.03  # ratio of the costs at which marks of equal cost are drawn, so that intervals stay apart


@dataclass(frozen=True)
class Spot:
    """One network: its cost, its test error, and the 95 % interval of the error."""

    label: str
    group: str  # the run or the setting: spots of a group have one colour
    macs: int
    error: float
    parameters: int | None = None
    ensemble: bool = False
    low: float | None = None
    high: float | None = None
    plain: bool = False  # trained without consensus


@dataclass(frozen=True)
class Bar:
    """The difference of one column of one setting to the plain ensemble, in fractions."""

    label: str
    group: str
    middle: float
    low: float | None
    high: float | None


def error_against_cost(spots: Sequence[Spot], *, title: str) -> str:
    """Test error over multiply-accumulates (logarithmic); squares are ensembles, whose cost is the sum.

    The area of a mark grows with the parameters, as in A. Canziani, A. Paszke, E. Culurciello, "An analysis
    of deep neural network models for practical applications", 2016, arXiv:1605.07678, figure 2.
    """
    colours = group_colours(spots)

    def draw(figure: "Figure") -> None:
        ax = figure.subplots()
        for place, (group, colour) in enumerate(colours.items()):
            inside = sorted((s for s in spots if s.group == group), key=lambda s: s.macs)
            _series(ax, inside, colour, APART ** (place - (len(colours) - 1) / 2), _largest(spots))
            if len(colours) > 1:
                ax.plot([], [], "o-", color=colour, label=short(group, LABEL))
        for name in dict.fromkeys(s.label for s in spots):
            _name(ax, name, [s for s in spots if s.label == name])
        _axes(ax)
        if len(colours) > 1:
            figure.legend(loc="outside lower center", ncols=min(len(colours), 3))

    lines = -(-len(colours) // 3) if len(colours) > 1 else 0
    return svg(WIDTH, 3.5 + 0.22 * lines, title, draw)


def group_colours(spots: Sequence[Spot]) -> dict[str, str]:
    """Group -> colour: grey without consensus, beside coloured groups; the others in order of appearance."""
    groups = dict.fromkeys(spot.group for spot in spots)
    plain = {group: all(s.plain for s in spots if s.group == group) for group in groups}
    greys = [group for group in groups if plain[group] and not all(plain.values())]
    others = [group for group in groups if group not in greys]
    found = {group: GREYS[i % 2] for i, group in enumerate(greys)}
    return found | {group: COLOURS[i % len(COLOURS)] for i, group in enumerate(others)}


def _largest(spots: Sequence[Spot]) -> int:
    return max(spot.parameters or 1 for spot in spots)


def _series(ax: "Axes", spots: Sequence[Spot], colour: str, shift: float, largest: int) -> None:
    costs, errors = [shift * s.macs for s in spots], [100 * s.error for s in spots]
    ax.plot(costs, errors, color=colour, linewidth=0.8, alpha=0.5)
    for x, y, spot in zip(costs, errors, spots, strict=True):
        if spot.low is not None and spot.high is not None:
            ax.plot([x, x], [max(0.0, 100 * spot.low), 100 * spot.high], color=colour, linewidth=1.4)
        size = SMALLEST + (LARGEST - SMALLEST) * sqrt((spot.parameters or 0) / largest)
        marker = "s" if spot.ensemble else "o"
        ax.plot(x, y, marker, color=colour, markersize=size, markeredgecolor=PAPER)


def _name(ax: "Axes", name: str, spots: Sequence[Spot]) -> None:
    """A member is named above its highest interval, the ensemble below its lowest: their costs are close."""
    below = spots[0].ensemble
    ends = [(None if s.low is None else max(0.0, s.low)) if below else s.high for s in spots]
    reach = [s.error if end is None else end for s, end in zip(spots, ends, strict=True)]
    where = (
        sqrt(min(s.macs for s in spots) * max(s.macs for s in spots)),
        100 * (min if below else max)(reach),
    )
    ax.annotate(
        short(name, 24),
        where,
        (0, -7 if below else 7),
        textcoords="offset points",
        ha="center",
        va="top" if below else "bottom",
        fontsize=9,
        color=INK,
    )


def _axes(ax: "Axes") -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    ax.set_xscale("log")
    ax.margins(x=0.16, y=0.16)
    low, high = ax.get_ylim()
    ax.set_yticks([tick for tick in ax.get_yticks() if max(low, 0) <= tick <= high])
    ax.set_ylim(low, high)
    ax.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5), numticks=9))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: counted(value)))
    ax.xaxis.set_minor_formatter(NullFormatter())
    ax.set(xlabel="multiply-accumulates per image", ylabel="test error, %")
    ax.grid()


def differences(bars: Sequence[Bar], colours: dict[str, str], *, title: str) -> str:
    """Every bar as a mark with its interval about the line of no difference; left of the line is better."""
    labels = list(dict.fromkeys(bar.label for bar in bars))

    def draw(figure: "Figure") -> None:
        ax = figure.subplots()
        ax.axvline(0, color=FAINT, linewidth=1)
        for place, label in enumerate(labels):
            inside = [bar for bar in bars if bar.label == label]
            for i, bar in enumerate(inside):
                y = -place - 0.62 * ((i + 1) / (len(inside) + 1) - 0.5)
                colour = colours[bar.group]
                if bar.low is not None and bar.high is not None:
                    ax.plot([100 * bar.low, 100 * bar.high], [y, y], color=colour, linewidth=1.8)
                ax.plot(100 * bar.middle, y, "o", color=colour, markersize=6, markeredgecolor=PAPER)
        ax.set_yticks([-i for i in range(len(labels))], [short(label, 20) for label in labels])
        ax.set_ylim(-len(labels) + 0.4, 0.6)
        ax.set_xlabel("test error less that of the plain ensemble,\npercentage points (left is better)")
        ax.tick_params(axis="y", length=0)
        ax.grid(axis="x")

    rows = len(bars) + len(labels)
    return svg(WIDTH, min(1.5 + 0.24 * rows, 7.0), title, draw)


def counted(number: float) -> str:
    """4320000 -> ``4.32 M``."""
    for size, unit in ((1e12, " T"), (1e9, " G"), (1e6, " M"), (1e3, " k")):
        if number >= size:
            return f"{number / size:.3g}{unit}"
    return f"{number:.3g}"

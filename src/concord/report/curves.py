"""Line charts over epochs, and accuracy against cost: the pictures A.1 to A.6 and B.1 to B.3 of Noel 2017.

Collaborative members stand in colour, plain ones in grey, published figures dashed in the colour of ours.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
from typing import TYPE_CHECKING, Literal

from concord.report.svg import COLOURS, FAINT, GREYS, INK, svg
from concord.report.text import short

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LABEL = 34  # characters of a label in a legend
SMALLEST, LARGEST = 5, 16  # diameters of marks, in points
Dash = Literal["-", "-.", ":"]
DASHED = (0, (4, 2))


@dataclass(frozen=True)
class Curve:
    """One line: equal labels have equal colours in all panels of a figure."""

    label: str
    epochs: tuple[int, ...]
    values: tuple[float, ...]
    plain: bool = False  # trained without consensus
    published: bool = False


@dataclass(frozen=True)
class Panel:
    title: str
    ylabel: str
    curves: tuple[Curve, ...]
    percent: bool = False  # the values are fractions and are shown in per cent


@dataclass(frozen=True)
class Spot:
    """One network in the picture of accuracy against cost."""

    label: str
    group: str  # the run: spots of a group have one colour
    macs: int
    error: float
    parameters: int | None = None
    ensemble: bool = False


def line_chart(
    panels: Sequence[Sequence[Panel]], *, title: str, last: int | None = None, logarithmic: bool = False
) -> str:
    """Rows of panels under one legend; ``last`` keeps that many epochs at the end, as Noel 2017 does."""
    columns, rows = max(map(len, panels)), len(panels)
    drawn = {c.label: c for row in panels for panel in row for c in panel.curves}
    styles = _styles(list(drawn.values()))
    published = any(c.published for row in panels for panel in row for c in panel.curves)
    lines = -(-(len(styles) + published) // 3)

    def draw(figure: "Figure") -> None:
        axes = figure.subplots(rows, columns, squeeze=False, sharex=True)
        for row, line in zip(axes, panels, strict=True):
            for ax, panel in zip(row, line, strict=False):
                shown = _panel(ax, panel, styles, last)
                if last:
                    _cut(ax, shown)
                elif logarithmic:
                    _logarithmic(ax, shown)
            for ax in row[len(line) :]:
                ax.set_visible(False)
        for ax in axes[-1]:
            ax.set_xlabel("epoch")
        _legend(figure, styles, published)

    return svg(min(3.1 * columns + 0.9, 10.2), 2.45 * rows + 0.5 + 0.22 * lines, title, draw)


def _styles(curves: Sequence[Curve]) -> dict[str, tuple[str, Dash]]:
    """Label -> colour and dash. Where the colours run out the dash tells lines apart."""
    dashes: tuple[Dash, ...] = ("-", "-.", ":")
    styles: dict[str, tuple[str, Dash]] = {}
    counts = {True: 0, False: 0}
    for curve in curves:
        colours = GREYS if curve.plain else COLOURS
        round_, place = divmod(counts[curve.plain], len(colours))
        counts[curve.plain] += 1
        styles[curve.label] = colours[place], dashes[round_ % len(dashes)]
    return styles


def _panel(
    ax: "Axes", panel: Panel, styles: Mapping[str, tuple[str, Dash]], last: int | None
) -> list[list[float]]:
    """Draw the curves and hand back the values that are seen."""
    from matplotlib.ticker import MaxNLocator

    scale = 100 if panel.percent else 1
    shown: list[list[float]] = []
    for curve in panel.curves:
        epochs, values = curve.epochs[-(last or 0) :], [scale * v for v in curve.values[-(last or 0) :]]
        colour, dash = styles[curve.label]
        marker = "o" if len(values) == 1 else None
        if curve.published:
            ax.plot(epochs, values, color=colour, linestyle=DASHED, linewidth=1.2, alpha=0.8, marker=marker)
        else:
            ax.plot(epochs, values, color=colour, linestyle=dash, marker=marker, markersize=4)
        shown.append(values)
    ax.set_title(short(panel.title, LABEL))
    ax.set_ylabel(panel.ylabel)
    ax.grid(axis="y")
    ax.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    return shown


def _cut(ax: "Axes", shown: list[list[float]]) -> None:
    """End the axis at three times the middle final value: one collapsed run must not flatten all others."""
    finals = sorted(values[-1] for values in shown if values)
    top = 3 * finals[len(finals) // 2] if len(finals) > 2 else 0
    lowest = min((min(values) for values in shown if values), default=0)
    if lowest < top < max(max(values) for values in shown if values):
        ax.set_ylim(min(lowest - 0.05 * (top - lowest), ax.get_ylim()[1]), top)


def _logarithmic(ax: "Axes", shown: list[list[float]]) -> None:
    """Early and late epochs are both readable on a logarithmic axis; a value of zero has no place on it."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    values = [value for line in shown for value in line]
    if not values or min(values) <= 0:
        return
    ax.set_yscale("log")
    ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5), numticks=12))
    ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    ax.yaxis.set_minor_formatter(NullFormatter())
    ax.minorticks_off()


def _legend(figure: "Figure", styles: Mapping[str, tuple[str, Dash]], published: bool) -> None:
    from matplotlib.lines import Line2D

    handles = [
        Line2D([], [], color=colour, linestyle=dash, label=short(label, LABEL))
        for label, (colour, dash) in styles.items()
    ]
    if published:
        handles.append(
            Line2D([], [], color=FAINT, linestyle=DASHED, linewidth=1.2, label="dashed: published")
        )
    if handles:
        figure.legend(handles=handles, loc="outside lower center", ncols=min(len(handles), 3))


def accuracy_against_cost(spots: Sequence[Spot], *, title: str) -> str:
    """Test error over multiply-accumulates (logarithmic); squares are ensembles, whose cost is the sum.

    The area of a mark grows with the parameters, as in A. Canziani, A. Paszke, E. Culurciello, "An analysis
    of deep neural network models for practical applications", 2016, arXiv:1605.07678, figure 2.
    """
    groups = list(dict.fromkeys(spot.group for spot in spots))
    largest = max(spot.parameters or 1 for spot in spots)

    def draw(figure: "Figure") -> None:
        from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

        ax = figure.subplots()
        for group, colour in zip(groups, _cycle(len(groups)), strict=True):
            inside = sorted((s for s in spots if s.group == group), key=lambda s: s.macs)
            ax.plot(
                [s.macs for s in inside],
                [100 * s.error for s in inside],
                color=colour,
                linewidth=0.8,
                alpha=0.5,
            )
            for spot in inside:
                marker = "s" if spot.ensemble else "o"
                size = SMALLEST + (LARGEST - SMALLEST) * sqrt((spot.parameters or 0) / largest)
                ax.plot(
                    spot.macs,
                    100 * spot.error,
                    marker,
                    color=colour,
                    markersize=size,
                    markeredgecolor="white",
                )
            if len(groups) > 1:
                ax.plot([], [], "o-", color=colour, label=short(group, LABEL))
        for name in dict.fromkeys(s.label for s in spots):
            _name(ax, name, [s for s in spots if s.label == name])
        ax.set_xscale("log")
        ax.margins(x=0.14, y=0.18)
        ax.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5), numticks=12))
        ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: counted(value)))
        ax.xaxis.set_minor_formatter(NullFormatter())
        ax.set(xlabel="multiply-accumulates per image", ylabel="test error, %")
        ax.grid()
        if len(groups) > 1:
            figure.legend(loc="outside right upper")

    return svg(8.2 if len(groups) > 1 else 6.2, 3.6, title, draw)


def _name(ax: "Axes", name: str, spots: Sequence[Spot]) -> None:
    """Members are named above their highest spot, ensembles below their lowest: the two are close."""
    below = spots[0].ensemble
    spot = min(spots, key=lambda s: s.error) if below else max(spots, key=lambda s: s.error)
    offset = (0, -16 if below else 8)
    where = (spot.macs, 100 * spot.error)
    ax.annotate(
        short(name, 24), where, offset, textcoords="offset points", ha="center", fontsize=9, color=INK
    )


def _cycle(n: int) -> list[str]:
    return [COLOURS[i % len(COLOURS)] for i in range(n)]


def counted(number: float) -> str:
    """4320000 -> ``4.32 M``."""
    for size, unit in ((1e12, " T"), (1e9, " G"), (1e6, " M"), (1e3, " k")):
        if number >= size:
            return f"{number / size:.3g}{unit}"
    return f"{number:.3g}"

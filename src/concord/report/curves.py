"""Line charts over epochs: the pictures A.1 to A.6 and B.1 to B.3 of Noel 2017.

Collaborative members stand in colour, plain ones in grey, published figures dashed in the colour of ours.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from concord.report.svg import COLOURS, FAINT, GREYS, svg
from concord.report.text import short

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LABEL = 34  # characters of a label in a legend
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


def line_chart(
    panels: Sequence[Sequence[Panel]], *, title: str, last: int | None = None, logarithmic: bool = False
) -> str:
    """Rows of panels under one legend; ``last`` keeps that many epochs at the end, as Noel 2017 does."""
    columns, rows = max(map(len, panels)), len(panels)
    curves = {c.label: c for row in panels for panel in row for c in panel.curves}
    styles = _styles(list(curves.values()))
    published = any(c.published for row in panels for panel in row for c in panel.curves)
    lines = -(-(len(styles) + published) // 3)

    def draw(figure: "Figure") -> None:
        axes = figure.subplots(rows, columns, squeeze=False, sharex=True)
        drawn: dict[str, list[tuple[Axes, list[list[float]]]]] = {}
        for row, line in zip(axes, panels, strict=True):
            for ax, panel in zip(row, line, strict=False):
                shown = _panel(ax, panel, styles, last)
                drawn.setdefault(panel.ylabel, []).append((ax, shown))
                if last:
                    _cut(ax, shown)
            for ax in row[len(line) :]:
                ax.set_visible(False)
        for ax in axes[-1]:
            ax.set_xlabel("epoch")
        for same in drawn.values() if logarithmic and not last else ():
            if all(_positive(shown) for _, shown in same):
                for ax, _ in same:
                    _logarithmic(ax)
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


def _positive(shown: list[list[float]]) -> bool:
    """A value of zero has no place on a logarithmic axis, and so on none beside it of the same quantity."""
    values = [value for line in shown for value in line]
    return bool(values) and min(values) > 0


def _logarithmic(ax: "Axes") -> None:
    """Early and late epochs are both readable on a logarithmic axis."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    ax.set_yscale("log")
    ax.set_ylabel(f"{ax.get_ylabel()} (log scale)")
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

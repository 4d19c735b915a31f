"""A drawing of a network over steps, unfolded: boxes for layers and steps, arrows for what passes on."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from concord.report.svg import COLOURS, FAINT, INK, MINUS, svg
from concord.report.unfolded_parts import Arrow, Kind, Passes, Row, Unfolded

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FILL: dict[Kind, str] = {
    "input": FAINT,
    "embedding": COLOURS[4],
    "cell": COLOURS[0],
    "dense": COLOURS[2],
    "output": FAINT,
}
LINE: dict[Passes, str] = {"input": INK, "state": COLOURS[1], "copy": COLOURS[3], "shortcut": FAINT}
INCH = 0.72  # of one unit of the drawing
ACROSS, UP = 2.1, 1.25  # from step to step, from row to row
BOX, THICK = 1.15, 0.56
APART = 0.62  # of a forward and a backward box from the middle of their column
NOTES = 3.9  # room for the notes beside the rows
GAP = 1.0  # left out between two steps


@dataclass(frozen=True)
class Times:
    """What stands below the columns. ``gap``: the step before which others are left out."""

    labels: tuple[str, ...]
    gap: int | None = None
    open: bool = False  # the sequence continues on both sides


def times_of(drawn: Unfolded) -> Times:
    """Of a network that answers at every step, at the last, or with steps behind the input."""
    steps, answers = drawn.steps, drawn.rows[-1].steps
    if answers.start >= steps:
        behind = (f"T+{t - steps + 1}" for t in answers)
        return Times((*_first_and_last(steps), *behind), steps - 1)
    if len(answers) < steps:
        return Times(_first_and_last(steps), 2)
    middle = steps // 2
    labels = ("t" if t == middle else f"t{t - middle:+d}".replace("-", MINUS) for t in range(steps))
    return Times(tuple(labels), None, open=True)


def _first_and_last(steps: int) -> tuple[str, ...]:
    """1, 2, and the last ones."""
    return ("1", "2", *(f"T{MINUS}{steps - 1 - t}" for t in range(2, steps - 1)), "T")


def unfolded_figure(drawn: Unfolded, times: Times, *, title: str) -> str:
    """The graph as SVG."""
    place = _Places(drawn, times)

    def draw(figure: "Figure") -> None:
        ax = figure.subplots()
        ax.set_axis_off()
        ax.set(xlim=place.sides, ylim=place.ends)
        for arrow in drawn.arrows:
            _arrow(ax, arrow, place)
        _open_ends(ax, drawn, times, place)
        for row in drawn.rows:
            for step in row.steps:
                _box(ax, row, step, place)
            _note(ax, row, place)
        for column, label in enumerate(times.labels):
            ax.text(place.column(column), place.ends[0] + 0.25, label, ha="center", va="center", color=FAINT)

    (left, right), (low, high) = place.sides, place.ends
    return svg(INCH * (right - left), INCH * (high - low), title, draw)


class _Places:
    """Where rows and columns are."""

    def __init__(self, drawn: Unfolded, times: Times) -> None:
        self.rows = {row.name: row for row in drawn.rows}
        self.gap = times.gap
        self.paired = any(row.side for row in drawn.rows)
        columns = 1 + max(row.steps[-1] for row in drawn.rows)
        stub = 1.0 if times.open else 0.55
        width = BOX / 2 + (APART if self.paired else 0.0) + stub
        self.left = -width
        beside = len({row.steps.start for row in drawn.rows if row.kind == "cell"}) > 1
        self.sides = -width - NOTES, self.column(columns - 1) + width + (NOTES + 0.4 if beside else 0.3)
        self.right = self.column(columns - 1) + width
        self.ends = -0.95, UP * max(row.height for row in drawn.rows) + 0.5

    def column(self, step: int) -> float:
        across = ACROSS + (1.1 if self.paired else 0.0)
        return across * step + (GAP if self.gap is not None and step >= self.gap else 0.0)

    def middle(self, name: str, step: int) -> tuple[float, float]:
        row = self.rows[name]
        return self.column(step) + APART * row.side, UP * row.height


def _box(ax: "Axes", row: Row, step: int, place: _Places) -> None:
    from matplotlib.patches import FancyBboxPatch

    x, y = place.middle(row.name, step)
    narrow = BOX / 2 if row.kind in ("input", "output") else BOX
    corner = x - narrow / 2, y - THICK / 2
    style = "round,pad=0,rounding_size=0.12"
    colour = FILL[row.kind]
    ax.add_patch(FancyBboxPatch(corner, narrow, THICK, style, facecolor="white", edgecolor="none", zorder=3))
    ax.add_patch(
        FancyBboxPatch(corner, narrow, THICK, style, facecolor=(colour, 0.14), edgecolor=colour, zorder=4)
    )
    size = 9.0 if len(row.text) < 9 else 7.5
    ax.text(x, y, row.text, ha="center", va="center_baseline", fontsize=size, zorder=5)


def _note(ax: "Axes", row: Row, place: _Places) -> None:
    """Name and size of a row, at the side where it stands."""
    behind = row.steps.start > 0 and len(row.steps) > 1
    x, side = (place.right + 0.15, "left") if behind else (place.left - 0.15, "right")
    y = UP * row.height
    named = row.kind not in ("input", "output")
    if named:
        ax.text(x, y + 0.04, row.name, ha=side, va="bottom", fontsize=9)
    y, up = (y - 0.04, "top") if named else (y, "center")
    ax.text(x, y, row.note, ha=side, va=up, fontsize=8, color=FAINT)


def _arrow(ax: "Axes", arrow: Arrow, place: _Places) -> None:
    start, end, bend = _ends(arrow, place)
    skips = place.gap is not None and {arrow.source[1], arrow.target[1]} == {place.gap - 1, place.gap}
    _line(ax, start, end, LINE[arrow.passes], dashed=skips, bend=bend)
    if arrow.label:
        x, y = (start[0] + end[0]) / 2, (start[1] + end[1]) / 2
        ax.text(x, y + 0.09, arrow.label, ha="center", va="bottom", fontsize=8, color=LINE[arrow.passes])


def _ends(arrow: Arrow, place: _Places) -> tuple[tuple[float, float], tuple[float, float], float]:
    """From edge to edge of two boxes, and how far the line bends around what lies between them."""
    (x0, y0), (x1, y1) = place.middle(*arrow.source), place.middle(*arrow.target)
    if arrow.passes in ("state", "copy"):
        way = 1 if x1 > x0 else -1
        return (x0 + way * BOX / 2, y0), (x1 - way * BOX / 2, y1), 0.0
    source, target = place.rows[arrow.source[0]], place.rows[arrow.target[0]]
    if source.height - target.height > 1 and arrow.source[1] > 0:  # downwards past other boxes
        return (x0 + BOX / 2, y0), (x1 + BOX / 2, y1), -0.32
    up = 1 if y1 > y0 else -1
    if target.side and not source.side:
        x0 += 0.2 * target.side
    return (x0, y0 + up * THICK / 2), (x1, y1 - up * THICK / 2), 0.0


def _line(
    ax: "Axes",
    start: tuple[float, float],
    end: tuple[float, float],
    colour: str,
    *,
    dashed: bool = False,
    bend: float = 0.0,
) -> None:
    shape = {
        "arrowstyle": "-|>",
        "color": colour,
        "linewidth": 1.3,
        "shrinkA": 0,
        "shrinkB": 1,
        "linestyle": (0, (3, 2)) if dashed else "solid",
        "connectionstyle": f"arc3,rad={bend}",
    }
    ax.annotate("", end, start, arrowprops=shape, zorder=2)


def _open_ends(ax: "Axes", drawn: Unfolded, times: Times, place: _Places) -> None:
    """State that comes in at the first drawn step and leaves at the last one."""
    colour = LINE["state"]
    for row in drawn.rows:
        if row.kind != "cell" or row.steps.start > 0:
            continue
        edges = [(row.steps[0], -1), (row.steps[-1], 1)]
        into, out = edges if row.side <= 0 else edges[::-1]
        for (step, way), enters in ((into, True), (out, False)):
            x, y = place.middle(row.name, step)
            near, far = x + way * BOX / 2, x + way * (BOX / 2 + 0.55)
            if times.open:
                start, end = (far, near) if enters else (near, far)
                _line(ax, (start, y), (end, y), colour, dashed=True)
            elif enters:
                _line(ax, (x + way * (BOX / 2 + 0.42), y), (near, y), colour)

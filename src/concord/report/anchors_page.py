"""Anchors of a data set as a figure and as a page."""

from pathlib import Path
from typing import TYPE_CHECKING

from concord.data.detection.suggest import Suggested
from concord.errors import UsageError
from concord.files.atomic import write_text
from concord.files.text import printable
from concord.report.document import document, write_html
from concord.report.parts import Drawing, Notice, Part, Section
from concord.report.svg import COLOURS, GREYS, standalone, svg
from concord.report.tables import Table, as_text, entries

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST = 1500  # boxes that are drawn


def write_anchors(found: Suggested, to: str | Path) -> None:
    """The figure as .svg, or the page as .html; UsageError for other names."""
    suffix = Path(to).suffix.lower()
    if suffix not in ("", ".html", ".htm", ".svg"):
        raise UsageError(f"{to}: its name must end in .html (a page) or .svg (the figure alone)")
    if suffix == ".svg":
        write_text(Path(to), standalone(anchors_figure(found)))
    else:
        write_html(to, anchors_page(found), "anchors.html")


def anchors_page(found: Suggested) -> str:
    """One HTML document: figure, anchors, mean IoU against their number."""
    k, boxes = len(found.anchors), len(found.sides)
    caption = (
        f"Left: width and height of {_drawn(boxes)} with the {k} anchors. Right: mean over all boxes of the"
        " IoU with the nearest anchor, against the number of anchors."
    )
    parts: tuple[Part, ...] = (
        *(Notice(text) for text in found.notices),
        Drawing(anchors_figure(found), caption),
        _table(found),
        _curve(found),
    )
    return document(f"concord: anchors of {found.source}", (), [Section("anchors", "Anchors", parts)])


def anchors_text(found: Suggested) -> str:
    """The same for a terminal, and a line of anchors as configuration files have them."""
    line = ", ".join(f"{w:.1f},{h:.1f}" for w, h in found.anchors)
    notes = [f"note: {printable(text)}" for text in found.notices]
    return "\n".join([as_text(_table(found)), "", f"anchors: {line}", "", as_text(_curve(found)), *notes])


def anchors_figure(found: Suggested) -> str:
    """Scatter of widths and heights with the anchors, and the curve of mean IoU, side by side, as SVG."""

    def draw(figure: "Figure") -> None:
        left, right = figure.subplots(1, 2, width_ratios=(1, 1))
        _scatter(left, found)
        _line(right, found)

    title = f"{len(found.anchors)} anchors of {len(found.sides):,} boxes, mean IoU {found.mean_iou:.3f}"
    return svg(9.6, 4.2, title, draw)


def _scatter(ax: "Axes", found: Suggested) -> None:
    step = -(-len(found.sides) // MOST)
    widths, heights = found.sides[::step].T.tolist()
    ax.scatter(widths, heights, s=4, color=GREYS[1], alpha=0.4, linewidths=0)
    across, along = zip(*found.anchors, strict=True)
    ax.scatter(across, along, s=70, marker="x", color=COLOURS[1], linewidths=2)
    ax.set(xlabel=f"width, {_unit(found)}", ylabel=f"height, {_unit(found)}", xlim=(0, None), ylim=(0, None))
    ax.grid()


def _line(ax: "Axes", found: Suggested) -> None:
    from matplotlib.ticker import MaxNLocator

    numbers = range(1, len(found.curve) + 1)
    ax.plot(numbers, found.curve, color=COLOURS[0], marker="o", markersize=3)
    ax.plot([len(found.anchors)], [found.mean_iou], marker="o", markersize=8, color=COLOURS[1])
    ax.set(xlabel="number of anchors", ylabel="mean IoU with the nearest anchor")
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.grid(axis="y")


def _table(found: Suggested) -> Table:
    rows = tuple(entries(f"{n}", f"{w:.1f}", f"{h:.1f}") for n, (w, h) in enumerate(found.anchors, 1))
    note = f"k-means with 1 - IoU, the {found.centre} of its boxes as centre; boxes of: {found.part}"
    return Table(
        f"Anchors in {_unit(found)}, mean IoU {found.mean_iou:.3f}", ("", "width", "height"), rows, 1, (note,)
    )


def _curve(found: Suggested) -> Table:
    rows = tuple(entries(f"{k}", f"{value:.3f}") for k, value in enumerate(found.curve, 1))
    return Table("Mean IoU against the number of anchors", ("anchors", "mean IoU"), rows)


def _unit(found: Suggested) -> str:
    return "pixels of the files" if found.size is None else f"pixels at size {found.size}"


def _drawn(boxes: int) -> str:
    return f"{boxes:,} boxes" if boxes <= MOST else f"every {-(-boxes // MOST)}th of {boxes:,} boxes"

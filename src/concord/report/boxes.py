"""Pictures with boxes, true and found ones, and curves of precision against recall."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from concord.report.pictures import as_picture
from concord.report.svg import CLASS_COLOURS, COLOURS, FAINT, svg
from concord.report.text import short

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from torch import Tensor

WIDE = 3.7  # inches of a picture
LINE = "#ffffff"  # around true boxes


@dataclass(frozen=True, eq=False)
class Found:
    """Boxes of one picture, x1, y1, x2, y2 in its pixels. Shape: corners (N, 4), labels and scores (N,)"""

    corners: "Tensor"
    labels: "Tensor"
    scores: "Tensor | None" = None  # None of true boxes


@dataclass(frozen=True, eq=False)
class Seen:
    """A picture (C, H, W) uint8, what is on it and what was found."""

    name: str
    image: "Tensor"
    truth: Found
    found: Found


def pictures_with_boxes(rows: Sequence[Seen], classes: Sequence[str], *, title: str) -> str:
    """Pairs of pictures: true boxes on the left, found ones with their scores on the right."""
    heights = [WIDE * row.image.shape[1] / row.image.shape[2] for row in rows]

    def draw(figure: "Figure") -> None:
        axes = figure.subplots(len(rows), 2, squeeze=False, gridspec_kw={"height_ratios": heights})
        for line, row in zip(axes, rows, strict=True):
            pixels, grey = as_picture(row.image)
            for ax, boxes in zip(line, (row.truth, row.found), strict=True):
                ax.imshow(pixels, cmap="gray" if grey else None, vmin=0, vmax=255, interpolation="none")
                ax.set(xticks=[], yticks=[])
                ax.spines[:].set(visible=True, color=FAINT)
                _boxes(ax, boxes, classes)
            line[0].set_ylabel(short(row.name, 34), fontsize=8)
        for ax, what in zip(axes[0], ("truth", "found"), strict=True):
            ax.set_title(what, fontsize=10)

    return svg(2 * WIDE + 0.3, sum(heights) + 0.15 * len(rows) + 0.3, title, draw)


def _boxes(ax: "Axes", boxes: Found, classes: Sequence[str]) -> None:
    from matplotlib.patches import Rectangle

    scores = [None] * len(boxes.labels) if boxes.scores is None else boxes.scores.tolist()
    for (x1, y1, x2, y2), label, score in zip(
        boxes.corners.tolist(), boxes.labels.tolist(), scores, strict=True
    ):
        colour = CLASS_COLOURS[label % len(CLASS_COLOURS)]
        ax.add_patch(Rectangle((x1, y1), x2 - x1, y2 - y1, fill=False, edgecolor=colour, linewidth=1.3))
        text = short(classes[label], 10) if score is None else f"{short(classes[label], 10)} {score:.2f}"
        ax.text(
            x1,
            y1,
            text,
            fontsize=5.5,
            color=LINE,
            va="bottom",
            bbox={"facecolor": colour, "edgecolor": "none", "pad": 0.6},
            clip_on=True,
        )


def precision_recall(curves: Mapping[str, tuple[Sequence[float], Sequence[float]]], *, title: str) -> str:
    """A curve for each class: (recall, precision) at every score of a box."""

    def draw(figure: "Figure") -> None:
        ax = figure.subplots()
        for k, (name, (recall, precision)) in enumerate(curves.items()):
            colour, start = COLOURS[k % len(COLOURS)], precision[:1]  # of the surest box, from recall 0 on
            ax.plot([0.0] * len(start) + [*recall], [*start, *precision], color=colour, label=short(name, 24))
        ax.set(xlabel="recall", ylabel="precision", xlim=(0, 1), ylim=(0, 1.02))
        ax.grid()
        ax.legend()

    return svg(5.6, 3.4, title, draw)

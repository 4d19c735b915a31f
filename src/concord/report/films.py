"""Strips of predicted frames: the true ones above, what each member predicts below."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from concord.report.parts import Drawing
from concord.report.pictures import as_picture
from concord.report.svg import FAINT, svg
from concord.report.text import short

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from torch import Tensor

MOST_FILMS, MOST_FRAMES = 3, 12
SIDE = 0.68  # inches of a frame


def film_strips(frames: Mapping[str, "Tensor"], truth: "Tensor") -> Iterator[Drawing]:
    """One drawing for each of the first films, with frames from left to right.

    Shape: (N, T, C, H, W) uint8 of each member and of the truth
    """
    for i in range(min(MOST_FILMS, len(truth))):
        rows = {"truth": truth[i], **{name: film[i] for name, film in frames.items()}}
        caption = f"Film {i + 1} of the test: the true frames, and below them what members predict."
        yield Drawing(_strip(rows, title=f"Predicted frames of film {i + 1}"), caption)


def _strip(rows: Mapping[str, "Tensor"], *, title: str) -> str:
    """Rows of frames (T, C, H, W) under each other."""
    across = min(MOST_FRAMES, *(len(film) for film in rows.values()))

    def draw(figure: "Figure") -> None:
        axes = figure.subplots(len(rows), across, squeeze=False)
        for line, (name, film) in zip(axes, rows.items(), strict=True):
            line[0].set_ylabel(short(name, 14), fontsize=9, rotation=0, ha="right", va="center")
            for ax, frame in zip(line, film, strict=False):
                pixels, grey = as_picture(frame)
                ax.imshow(pixels, cmap="gray" if grey else None, vmin=0, vmax=255, interpolation="none")
                ax.set(xticks=[], yticks=[])
                ax.spines[:].set(visible=True, color=FAINT)
        for step, ax in enumerate(axes[0], 1):
            ax.set_title(str(step), fontsize=8)

    return svg(1.0 + SIDE * across, 0.25 + SIDE * len(rows), title, draw)

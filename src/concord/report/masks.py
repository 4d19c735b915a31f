"""Triptychs of a segmentation: the picture, the true classes, the predicted ones with their mistakes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from concord.report.pictures import as_picture
from concord.report.svg import CLASS_COLOURS, FAINT, svg
from concord.report.text import short

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.figure import Figure
    from torch import Tensor

RIGHT, MISSED, INVENTED, NOTHING = (1.0, 1.0, 1.0), (0.84, 0.37, 0.0), (0.34, 0.71, 0.91), (0.5, 0.5, 0.5)
MOST_PIXELS = 320  # of a side that is drawn; larger pictures are thinned out
SIDE = 2.45  # inches


@dataclass(frozen=True, eq=False)
class Triptych:
    """One picture. Shape: image (C, H, W) uint8; truth and prediction (H, W), -1 counts for nothing"""

    name: str
    image: "Tensor"
    truth: "Tensor"
    prediction: "Tensor"


def triptychs(rows: Sequence[Triptych], classes: Sequence[str], *, title: str) -> str:
    """A row for each picture. Of two classes mistakes show their kind: class 1 missed, or invented."""
    colours = [_rgb(CLASS_COLOURS[k % len(CLASS_COLOURS)]) for k in range(len(classes))]
    if len(classes) == 2:
        colours = [(0.0, 0.0, 0.0), (1.0, 1.0, 1.0)]

    def draw(figure: "Figure") -> None:
        axes = figure.subplots(len(rows), 3, squeeze=False)
        for line, row in zip(axes, rows, strict=True):
            step = max(1, -(-max(row.truth.shape) // MOST_PIXELS))
            image, truth, prediction = (
                part[..., ::step, ::step] for part in (row.image, row.truth, row.prediction)
            )
            pixels, grey = as_picture(image)
            shown = (pixels, _painted(truth, colours), _mistakes(truth, prediction, colours))
            for ax, picture in zip(line, shown, strict=True):
                ax.imshow(picture, cmap="gray" if grey else None, interpolation="none")
                ax.set(xticks=[], yticks=[])
                ax.spines[:].set(visible=True, color=FAINT)
            line[0].set_ylabel(short(row.name, 30), fontsize=8)
        for ax, what in zip(axes[0], ("picture", "truth", "prediction"), strict=True):
            ax.set_title(what, fontsize=10)

    return svg(3 * SIDE + 0.3, len(rows) * SIDE + 0.3, title, draw)


def _rgb(colour: str) -> tuple[float, float, float]:
    red, green, blue = (int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))
    return red, green, blue


def _painted(classes: "Tensor", colours: Sequence[tuple[float, float, float]]) -> "np.ndarray":
    """Shape: (H, W) -> (H, W, 3)"""
    import numpy as np

    table = np.array([*colours, NOTHING])  # the last one is that of -1
    painted: np.ndarray = table[classes.numpy()]
    return painted


def _mistakes(
    truth: "Tensor", prediction: "Tensor", colours: Sequence[tuple[float, float, float]]
) -> "np.ndarray":
    """The predicted classes, wrong pixels in colours of mistakes. Shape: (H, W), (H, W) -> (H, W, 3)"""
    painted = _painted(prediction, colours)
    wrong = ((truth != prediction) & (truth >= 0)).numpy()
    missed = wrong & (truth > 0).numpy() & (prediction.numpy() == 0 if len(colours) == 2 else True)
    painted[wrong] = INVENTED
    painted[missed] = MISSED
    return painted

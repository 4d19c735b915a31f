"""Images of the report: what the first layer looks for, and the mistakes the ensemble was surest of."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from concord.report.svg import FAINT, svg
from concord.report.text import short

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.figure import Figure
    from torch import Tensor

MOST_FILTERS = 128
ACROSS = 16


def filter_grid(filters: "Tensor", *, title: str) -> str:
    """The filters (N, C, k, k) of a first convolution: in colour where C is 3, else each channel's mean.

    Grey filters share one scale around zero: light is positive, dark is negative, the middle grey is zero.
    """
    shown = filters.detach().float().cpu()[:MOST_FILTERS]
    n, channels, height, width = shown.shape
    coloured = channels == 3
    if not coloured:
        shown = shown.mean(1, keepdim=True)
    across = min(n, ACROSS)
    down = math.ceil(n / across)

    def draw(figure: "Figure") -> None:
        import numpy as np

        limit = shown.abs().max().clamp(min=1e-12)
        scaled = (shown / limit / 2 + 0.5).permute(0, 2, 3, 1).expand(-1, -1, -1, 3).numpy()
        # One image with a see-through gap of a pixel: a browser scales it as a whole, without seams.
        mosaic = np.zeros((down * (height + 1) - 1, across * (width + 1) - 1, 4))
        for i, image in enumerate(scaled):
            y, x = i // across * (height + 1), i % across * (width + 1)
            mosaic[y : y + height, x : x + width] = np.concatenate([image, np.ones_like(image[..., :1])], -1)
        ax = figure.subplots()
        ax.imshow(mosaic, interpolation="none")
        ax.axis("off")

    unit = 0.5
    return svg(unit * across + 0.1, unit * down + 0.1, title, draw)


def mistakes(
    images: "Tensor", captions: Sequence[tuple[str, str, float, str]], *, title: str, across: int = 6
) -> str:
    """Images (n, C, H, W) of uint8, each with (true class, predicted class, confidence, file name)."""
    n = len(images)
    down = math.ceil(n / across)

    def draw(figure: "Figure") -> None:
        figure.set_layout_engine("constrained", h_pad=0.1)  # a name below is not a title of the next row
        axes = figure.subplots(down, across, squeeze=False)
        for ax in axes.flat[n:]:
            ax.set_visible(False)
        for ax, image, (true, predicted, confidence, name) in zip(axes.flat, images, captions, strict=False):
            pixels, grey = as_picture(image)
            ax.imshow(pixels, cmap="gray" if grey else None, vmin=0, vmax=255, interpolation="none")
            ax.set(xticks=[], yticks=[])
            ax.spines[:].set(visible=True, color=FAINT)
            ax.set_title(f"predicted {short(predicted, 12)}\n{100 * confidence:.1f} %", fontsize=9)
            ax.set_xlabel(f"true {short(true, 15)}\n{short(name, 20)}", fontsize=8)

    return svg(1.62 * across, 2.35 * down, title, draw)


def as_picture(image: "Tensor") -> "tuple[np.ndarray, bool]":
    """(C, H, W) as matplotlib wants it, and whether it is grey; of other than 1 or 3 channels the mean."""
    if image.shape[0] == 3:
        return image.permute(1, 2, 0).numpy(), False
    return image.float().mean(0).numpy(), True

"""A photograph through three filters of concord.plain's convolution."""

import numpy as np
from matplotlib.figure import Figure
from sklearn.datasets import load_sample_image

from concord.plain.convolution import Convolution
from concord.report.svg import svg

FILTERS = {
    "left to right": [[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]],
    "top to bottom": [[-1, -2, -1], [0, 0, 0], [1, 2, 1]],
    "blur": [[1 / 16, 2 / 16, 1 / 16], [2 / 16, 4 / 16, 2 / 16], [1 / 16, 2 / 16, 1 / 16]],
}


def photograph() -> np.ndarray:
    """(105, 160), 0 to 1: the mean of every 4x4 pixels and of the three colours."""
    photo = load_sample_image("china.jpg")[:420]
    return photo.reshape(105, 4, 160, 4, 3).mean((1, 3, 4)) / 255


def picture() -> str:
    photo = photograph()
    layer = Convolution((*photo.shape, 1), filters=len(FILTERS), size=3)
    for f, window in enumerate(FILTERS.values()):
        layer.put(f, window, 0.0)
    y = np.array(layer.forward(photo.tolist())).reshape(layer.output_shape)

    def draw(figure: Figure) -> None:
        axes = figure.subplots(2, 2)
        maps = {"photograph": photo} | {name: y[..., f] for f, name in enumerate(FILTERS)}
        for ax, (name, numbers) in zip(axes.flat, maps.items(), strict=True):
            ax.imshow(numbers, cmap="gray", vmin=0, vmax=max(1, numbers.max() * 0.8))
            ax.set_title(name)
            ax.axis("off")

    return svg(7.6, 5.4, "A photograph, its edges from left to right and top to bottom, and blurred", draw)

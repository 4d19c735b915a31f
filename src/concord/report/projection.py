"""Two images that look alike and are not of one class: figure 3.4 of Noel 2017, after C. Olah.

The test images are projected on their first two principal components. Two points of different classes that
fall together are marked by stars, one in each half. Along each axis stands the marked image with the weights
of that axis over it: blue where a bright pixel moves the point right or up, red where it moves it back.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch.nn.functional as F
from sklearn.decomposition import PCA
from torch import Tensor

from concord.report.svg import CLASS_COLOURS, FAINT, svg
from concord.report.text import short

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

SAMPLE = 1000
SIDE = 48  # larger images are averaged down first: the components of a large photograph need no more
LISTED = 40  # classes in the legend
MARKERS = "os^DvP*X"


@dataclass(frozen=True, eq=False)
class Projection:
    images: Tensor  # (n, C, H, W) uint8, the sample
    labels: Tensor  # (n,)
    points: np.ndarray  # (n, 2)
    components: np.ndarray  # (2, C, H, W)
    pair: tuple[int, int] | None  # the nearest points of different classes; None where there is one class


def project(images: Tensor, labels: Tensor, sample: int = SAMPLE) -> Projection:
    """Principal components of evenly chosen images: points = (x - mean) components^T.

    Shape: (N, C, H, W), (N,) -> n <= ``sample`` points
    """
    chosen = np.linspace(0, len(images) - 1, min(sample, len(images))).round().astype(int)
    images, labels = images[chosen], labels[chosen]
    if max(images.shape[-2:]) > SIDE:
        scale = SIDE / max(images.shape[-2:])
        size = (max(1, round(scale * images.shape[-2])), max(1, round(scale * images.shape[-1])))
        images = F.adaptive_avg_pool2d(images.float(), size).round().byte()
    pca = PCA(n_components=2, svd_solver="full")
    with np.errstate(invalid="ignore"):  # sklearn divides by the variance; equal images have none
        points = pca.fit_transform(images.flatten(1).double().numpy() / 255)
    return Projection(
        images, labels, points, pca.components_.reshape(2, *images.shape[1:]), nearest(points, labels)
    )


def nearest(points: np.ndarray, labels: Tensor) -> tuple[int, int] | None:
    """Indices of the two nearest points of different classes. Shape: (n, 2), (n,) -> a pair"""
    distance = np.square(points[:, None] - points[None]).sum(-1)
    distance[labels[:, None].eq(labels[None]).numpy()] = np.inf
    i, j = np.unravel_index(distance.argmin(), distance.shape)
    return (int(i), int(j)) if np.isfinite(distance[i, j]) else None


def projection_figure(projection: Projection, classes: Sequence[str], *, title: str) -> str:
    """Both halves of figure 3.4: the same points, one of the pair starred in each."""
    present = sorted(set(projection.labels.tolist()))
    marked = projection.pair or (0,)
    names = [short(classes[c], 16) for c in present[:LISTED]]
    across = min(10, max(1, 55 * len(marked) // (max(map(len, names)) + 4)))

    def draw(figure: "Figure") -> None:
        grid = figure.add_gridspec(
            2, 2 * len(marked), width_ratios=[1, 3] * len(marked), height_ratios=[3, 1]
        )
        for half, index in enumerate(marked):
            ax = figure.add_subplot(grid[0, 2 * half + 1])
            _points(ax, projection, present, index)
            name = short(classes[int(projection.labels[index])], 16)
            ax.set_title(f"starred: {name}")
            for axis, place in ((0, grid[1, 2 * half + 1]), (1, grid[0, 2 * half])):
                _heat(figure.add_subplot(place), projection.images[index], projection.components[axis], axis)
        handles = [_handle(i, name) for i, name in enumerate(names)]
        figure.legend(handles=handles, loc="outside lower center", ncols=across, handletextpad=0.1)

    return svg(4.9 * len(marked), 4.7 + 0.2 * -(-len(names) // across), title, draw)


def _look(i: int) -> dict[str, Any]:
    colour, marker = CLASS_COLOURS[i % len(CLASS_COLOURS)], MARKERS[i // len(CLASS_COLOURS) % len(MARKERS)]
    return {"color": colour, "marker": marker}


def _handle(i: int, label: str) -> "Line2D":
    from matplotlib.lines import Line2D

    return Line2D([], [], linestyle="", markersize=6, label=label, **_look(i))


def _points(ax: "Axes", projection: Projection, present: Sequence[int], star: int) -> None:
    labels = projection.labels.numpy()
    for i, c in enumerate(present):
        x, y = projection.points[labels == c].T
        ax.plot(x, y, linestyle="", markersize=3, markeredgewidth=0, alpha=0.75, **_look(i))
    x, y = projection.points[star]
    colour = _look(present.index(int(labels[star])))["color"]
    ax.plot(x, y, "*", markersize=19, color=colour, markeredgecolor="black", markeredgewidth=1.2)
    ax.set(xticks=[], yticks=[])


def _heat(ax: "Axes", image: Tensor, component: np.ndarray, axis: int) -> None:
    ax.imshow(heat_map(image, component), interpolation="none")
    ax.set(xticks=[], yticks=[])
    ax.spines[:].set(visible=True, color=FAINT)
    ax.set_xlabel(("horizontal", "vertical")[axis] + " axis", fontsize=8)


def heat_map(image: Tensor, component: np.ndarray) -> np.ndarray:
    """The image in grey, dark on light, and over it the weights: the larger, the more of their colour.

    Blended here because matplotlib gives an unscaled image no opacity per pixel.
    Shape: (C, H, W), (C, H, W) -> (H, W, 3) between 0 and 1
    """
    from matplotlib import colormaps

    grey = 1 - 0.75 * image.float().mean(0).numpy()[..., None] / 255
    weights = component.sum(0)
    share = weights / (np.abs(weights).max() or 1.0)
    opacity = 0.75 * np.abs(share)[..., None]
    return (1 - opacity) * grey + opacity * colormaps["RdBu"](0.5 + share / 2)[..., :3]

"""Weights of pixels: borders between touching objects count more, and so do rare classes.

Source: O. Ronneberger, P. Fischer, T. Brox, "U-Net: Convolutional Networks for Biomedical Image
Segmentation", MICCAI 2015, section 3, equation 2:

    w(x) = w_c(x) + w0 exp(-(d1(x) + d2(x))^2 / (2 sigma^2))

d1 and d2 are the distances to the nearest and to the second nearest object.

Departures: the article does not say how w_c makes up for the frequency of classes; here it is 1 / (K f_k),
f_k the share of class k among the training pixels of K classes, so that its mean over these pixels is 1. The
second term is added outside of objects, as in figure 3d, and is 0 where d1 + d2 is beyond 6 sigma (below
w0 / 6e7 there).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from concord.errors import UsageError

REACH = 6  # in sigma


@dataclass(frozen=True)
class Border:
    """``objects`` is the class whose connected regions are the objects; default: class 1."""

    w0: float = 10.0
    sigma: float = 5.0
    objects: str | None = None

    def __post_init__(self) -> None:
        if not (self.w0 >= 0 and self.sigma > 0):
            raise UsageError(f"w0 must be 0 or more and sigma above 0, got {self.w0} and {self.sigma}")

    def number(self, classes: Sequence[str]) -> int:
        """The class of the objects; UsageError for an unknown one."""
        if self.objects is None:
            return 1
        if self.objects not in classes:
            raise UsageError(f"border.objects is {self.objects!r}, the classes are {', '.join(classes)}")
        return classes.index(self.objects)


def balance(counts: Sequence[int]) -> tuple[float, ...]:
    """w_c of each class, 1 / (K f_k) from its training pixels; 1 of a class without pixels."""
    present = sum(count > 0 for count in counts)
    total = sum(counts)
    return tuple(total / (present * count) if count else 1.0 for count in counts)


def between(objects: NDArray[np.bool_], w0: float, sigma: float) -> NDArray[np.float32]:
    """w0 exp(-(d1 + d2)^2 / (2 sigma^2)) outside of objects, 0 in them and where fewer than two are near.

    Objects are regions connected by sides of pixels. Shape: (H, W) -> (H, W)
    """
    labels, _ = ndimage.label(objects)
    nearest = np.full((2, *objects.shape), np.inf)
    margin = int(np.ceil(REACH * sigma))
    for number, (down, right) in enumerate(ndimage.find_objects(labels), 1):
        # its distances matter near it alone: one transform of the whole image for each object would be slow
        around = tuple(slice(max(s.start - margin, 0), s.stop + margin) for s in (down, right))
        distance = ndimage.distance_transform_edt(labels[around] != number)
        first, second = nearest[0][around], nearest[1][around]
        nearest[1][around] = np.minimum(second, np.maximum(first, distance))
        nearest[0][around] = np.minimum(first, distance)
    both = nearest.sum(0)
    weights = np.where(both <= REACH * sigma, w0 * np.exp(-np.square(both) / (2 * sigma**2)), 0)
    return np.where(objects, 0, weights).astype(np.float32)

"""Images as rows of numbers, which is all that these classifiers see."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from concord.errors import ShapeError, UsageError


@dataclass(frozen=True, eq=False)
class Samples:
    """N images of D pixels, with their classes. Shape: x (N, D) float64 from 0 to 1, y (N,) int64"""

    x: NDArray[np.float64]
    y: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.y)


def flat(pixels: NDArray[Any], labels: NDArray[Any]) -> Samples:
    """Pixels 0..255 become 0..1, row after row, one channel after the other.

    Shape: (N, C, H, W) uint8, (N,) -> (N, C H W). Raises ShapeError for anything else, UsageError for none.
    """
    if pixels.ndim != 4 or pixels.dtype != np.uint8 or labels.shape != pixels.shape[:1]:
        raise ShapeError(
            f"expected (N, C, H, W) uint8 and (N,) labels, got {pixels.shape} "
            f"{pixels.dtype} and {labels.shape}"
        )
    if not len(pixels):
        raise UsageError("there are no images")
    return Samples(pixels.reshape(len(pixels), -1) / 255.0, labels.astype(np.int64))


def need_two_classes(samples: Samples) -> None:
    """UsageError if all samples are of one class: there is nothing to tell apart."""
    if len(np.unique(samples.y)) < 2:
        raise UsageError("the training images are all of one class; at least 2 classes are needed")

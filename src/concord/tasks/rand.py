"""Rand scores of segmented pictures, as in the ISBI 2012 challenge: do pixels of one region stay together?

Source: I. Arganda-Carreras et al., "Crowdsourcing the creation of image segmentation algorithms for
connectomics", Frontiers in Neuroanatomy 9:142, 2015: Rand scoring restricted to the foreground of the truth,
after border thinning.

Departure: thinning leaves no line of one pixel; every pixel of a predicted border goes to its nearest region.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.sparse import coo_matrix

from concord.errors import ShapeError, UsageError

Map = NDArray[np.bool_]  # (H, W): whether a pixel is inside of a region, not on a border


@dataclass(frozen=True)
class RandScore:
    """From above 0 to 1: 1 where the regions are the same."""

    both: float  # V_rand, alpha = 1/2
    split: float  # alpha = 0: low where a true region is predicted in pieces
    merge: float  # alpha = 1: low where several true regions are predicted as one


def rand_score(truth: Map, predicted: Map) -> RandScore | None:
    """V = sum_ij p_ij^2 / (alpha sum_i s_i^2 + (1 - alpha) sum_j t_j^2); None where the truth has no region.

    p_ij is the share of the pixels inside of true regions that lie in region i of the prediction and j of the
    truth, s_i and t_j are its sums. Regions are connected along sides of pixels. Without a predicted region
    every pixel counts as one. Shape: (H, W) bool twice; ShapeError for others
    """
    if truth.ndim != 2 or truth.shape != predicted.shape:
        raise ShapeError(f"expected two maps (H, W), got {truth.shape} and {predicted.shape}")
    inside = truth.astype(bool)
    if not inside.any():
        return None
    t, s = _connected(inside)[inside], _without_borders(_connected(predicted))[inside]
    pairs = coo_matrix((np.ones(len(t)), (s, t))).tocsr()  # equal places are summed up
    together, of_s, of_t = (float(np.square(n).sum()) for n in (pairs.data, pairs.sum(1), pairs.sum(0)))
    return RandScore(2 * together / (of_s + of_t), together / of_t, together / of_s)


def best_rand_score(
    truth: Map, probability: NDArray[np.floating[Any]], thresholds: Iterable[float]
) -> tuple[RandScore, float] | None:
    """The highest V_rand of maps ``probability`` > threshold, as the challenge reports it, and its threshold.

    ``probability`` is that of the inside of regions. The first of equal ones; None where the truth has no
    region. UsageError without a threshold.
    """
    found = [(rand_score(truth, probability > threshold), threshold) for threshold in thresholds]
    if not found:
        raise UsageError("expected at least one threshold, got none")
    scored = [(score, threshold) for score, threshold in found if score is not None]
    return max(scored, key=lambda pair: pair[0].both, default=None)


def _connected(inside: Map) -> NDArray[np.int64]:
    """Regions by number, from 1; 0 on borders."""
    numbers: NDArray[np.int64] = ndimage.label(inside)[0]
    return numbers


def _without_borders(regions: NDArray[np.int64]) -> NDArray[np.int64]:
    """Every pixel in its nearest region; without any region each alone."""
    if not regions.any():
        return np.arange(regions.size).reshape(regions.shape)
    nearest = ndimage.distance_transform_edt(regions == 0, return_distances=False, return_indices=True)
    moved: NDArray[np.int64] = regions[tuple(nearest)]
    return moved

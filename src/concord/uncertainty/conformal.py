"""Sets of labels that hold the true one with a wanted probability: split conformal prediction.

Of held-out samples that nothing was trained on the scores of the true labels are sorted; a set has every
label whose score is at most a quantile of them. If new samples are exchangeable with the held-out ones, the
set has the true label with at least the wanted probability, whatever the classifier is.

Sources: M. Sadinle, J. Lei, L. Wasserman, "Least ambiguous set-valued classifiers with bounded error levels",
JASA 2019 (lac); Y. Romano, M. Sesia, E. Candès, "Classification with valid and adaptive coverage", NeurIPS
2020, section 2 (aps); A. Angelopoulos, S. Bates, J. Malik, M. Jordan, "Uncertainty sets for image classifiers
using conformal prediction", ICLR 2021, section 2 (raps).

Departures: the likeliest label is always in the set, so that no set is empty, which only adds coverage.
The two numbers of raps are fixed beforehand, not chosen on a part of the held-out samples.
"""

from collections.abc import Callable, Mapping
from fractions import Fraction
from math import ceil, inf

import torch
from torch import Tensor

from concord.errors import ShapeError, UsageError

PENALTY, FREE = 0.1, 1  # of raps: lambda, and the ranks that cost nothing (k_reg)


def lac(p: Tensor, u: Tensor) -> Tensor:
    """1 - p_k. ``u`` is not used. Shape: (N, K), (N,) -> (N, K)"""
    return 1 - p


def aps(p: Tensor, u: Tensor) -> Tensor:
    """Sum of the probabilities above that of k, + u p_k, with u uniform on [0, 1).

    Shape: (N, K), (N,) -> (N, K)
    """
    ordered, order = p.sort(dim=-1, descending=True, stable=True)
    scores = ordered.cumsum(-1) - ordered * (1 - u[:, None])
    return torch.empty_like(p).scatter_(-1, order, scores)


def raps(p: Tensor, u: Tensor) -> Tensor:
    """``aps`` + 0.1 max(0, rank of k - 1), ranks counted from 1 for the likeliest.

    Shape: (N, K), (N,) -> (N, K)
    """
    rank = p.argsort(dim=-1, descending=True, stable=True).argsort(-1) + 1
    return aps(p, u) + PENALTY * (rank - FREE).clamp(min=0)


METHODS: Mapping[str, Callable[[Tensor, Tensor], Tensor]] = {"lac": lac, "aps": aps, "raps": raps}


def required(method: str) -> Callable[[Tensor, Tensor], Tensor]:
    """The score of that name; UsageError that lists the names."""
    if method not in METHODS:
        raise UsageError(f"sets are made by one of {', '.join(METHODS)}, got {method!r}")
    return METHODS[method]


def needed(coverage: float) -> int:
    """The least number of held-out samples for sets that are not simply all labels: c / (1 - c) at least."""
    wanted = _exact(coverage)
    return ceil(wanted / (1 - wanted))


def threshold(scores: Tensor, coverage: float) -> float:
    """The k-th smallest score, k = ceil((n + 1) coverage); infinite where k > n.

    Shape: (n,). Raises ShapeError for another shape, UsageError for a coverage outside of (0, 1).
    """
    if scores.ndim != 1:
        raise ShapeError(f"expected (n,) scores of true labels, got {(*scores.shape,)}")
    if not 0 < coverage < 1:
        raise UsageError(f"coverage must be above 0 and below 1, got {coverage}")
    k = ceil((len(scores) + 1) * _exact(coverage))
    return inf if k > len(scores) else scores.double().sort().values[k - 1].item()


def _exact(coverage: float) -> Fraction:
    """The decimal number that was written: 9/10 for 0.9, which in binary lies above it."""
    return Fraction(repr(float(coverage)))


def label_sets(method: str, p: Tensor, u: Tensor, most: float) -> Tensor:
    """Which labels are in the set: those with a score of at most ``most``, and the likeliest.

    Shape: p (N, K), u (N,) -> (N, K) bool
    """
    inside = required(method)(p, u) <= most
    return inside.scatter(-1, p.argmax(-1, keepdim=True), True)

"""Scores that are high for samples like those of the training, and how well they tell other data apart.

Sources: D. Hendrycks, K. Gimpel, "A baseline for detecting misclassified and out-of-distribution examples in
neural networks", ICLR 2017 (maximum softmax probability, AUROC, AUPR); W. Liu, X. Wang, J. Owens, Y. Li,
"Energy-based out-of-distribution detection", NeurIPS 2020, section 3 (energy at T = 1, FPR at 95 % TPR);
D. Hendrycks et al., "Scaling out-of-distribution detection for real-world settings", ICML 2022 (max logit);
A. Malinin, M. Gales, "Predictive uncertainty estimation via prior networks", NeurIPS 2018, section 2 (mutual
information of an ensemble).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from concord.errors import ShapeError

TPR = 0.95


def max_probability(z: Tensor) -> Tensor:
    """max_k softmax(z)_k. Shape: (N, K) -> (N,)"""
    return z.softmax(-1).max(-1).values


def negative_entropy(z: Tensor) -> Tensor:
    """sum_k p_k ln p_k, nats. Shape: (N, K) -> (N,)"""
    log_p = z.log_softmax(-1)
    return (log_p.exp() * log_p).sum(-1)


def negative_energy(z: Tensor) -> Tensor:
    """ln sum_k exp(z_k), minus the energy of Liu et al. at T = 1. Shape: (N, K) -> (N,)"""
    return z.logsumexp(-1)


def max_logit(z: Tensor) -> Tensor:
    """max_k z_k. Shape: (N, K) -> (N,)"""
    return z.max(-1).values


SCORES: Mapping[str, Callable[[Tensor], Tensor]] = {
    "max_probability": max_probability,
    "entropy": negative_entropy,
    "energy": negative_energy,
    "max_logit": max_logit,
}
MUTUAL_INFORMATION = "mutual_information"  # of an ensemble alone


def negative_mutual_information(members: Sequence[Tensor]) -> Tensor:
    """mean_m H(p_m) - H(mean_m p_m), nats: 0 where all members say the same, below it where they differ.

    Shape: M times (N, K) -> (N,)
    """
    log_p = torch.stack(list(members)).log_softmax(-1)
    mean = log_p.exp().mean(0)
    own = (log_p.exp() * log_p).sum(-1).mean(0)
    return torch.special.entr(mean).sum(-1).neg() - own


@dataclass(frozen=True)
class Separation:
    """How well a score tells samples like those of the training (positive) from others: fractions of 1."""

    auroc: float  # probability that a familiar sample has the higher score; 0.5 is chance
    aupr: float  # average precision, familiar samples positive; chance is their share
    fpr95: float  # share of the others that pass where 95 % of the familiar samples do


def separation(familiar: Tensor, other: Tensor) -> Separation:
    """AUROC, AUPR and FPR at 95 % TPR of one score. Shape: (N,), (M,), N and M >= 1, else ShapeError"""
    if familiar.ndim != 1 or other.ndim != 1 or not len(familiar) or not len(other):
        raise ShapeError(f"expected (N,) and (M,) scores, got {(*familiar.shape,)} and {(*other.shape,)}")
    from sklearn.metrics import average_precision_score, roc_auc_score, roc_curve

    scores = torch.cat([familiar, other]).double().cpu().numpy()
    truth = torch.cat([torch.ones(len(familiar)), torch.zeros(len(other))]).numpy()
    fpr, tpr, _ = roc_curve(truth, scores, drop_intermediate=False)
    return Separation(
        float(roc_auc_score(truth, scores)),
        float(average_precision_score(truth, scores)),
        float(fpr[tpr >= TPR].min()),
    )

"""What the logits of a test set tell: mistakes, calibration, and how differently the members err.

Letters: M members, N samples, K classes. All functions are pure and read logits (M, N, K) or
probabilities (N, K).
"""

from dataclasses import dataclass

import torch
from torch import Tensor

BINS = 15


@dataclass(frozen=True, eq=False)
class Reliability:
    """Per bin of confidence: number of samples, mean confidence, share that is right; 0 where empty.

    Source: C. Guo, G. Pleiss, Y. Sun, K. Q. Weinberger, "On Calibration of Modern Neural Networks", 2017.
    """

    count: Tensor  # (BINS,)
    confidence: Tensor
    accuracy: Tensor
    ece: float  # expected calibration error: sum_b count_b / N |accuracy_b - confidence_b|


def ensemble_probabilities(logits: Tensor) -> Tensor:
    """softmax of the mean of the members' logits, as Noel 2017 predicts. Shape: (M, N, K) -> (N, K)"""
    return logits.double().mean(0).softmax(-1)


def confusion(predicted: Tensor, labels: Tensor, classes: int) -> Tensor:
    """c_tp = number of samples of class t that were called p. Shape: (N,), (N,) -> (K, K)"""
    return torch.bincount(labels * classes + predicted, minlength=classes**2).reshape(classes, classes)


def recall(predicted: Tensor, labels: Tensor, classes: int) -> Tensor:
    """r_t = c_tt / sum_p c_tp of the confusion; 0 where a class has no samples. Shape: (N,), (N,) -> (K,)"""
    counts = confusion(predicted, labels, classes).double()
    return counts.diagonal() / counts.sum(1).clamp(min=1)


def reliability(probabilities: Tensor, labels: Tensor, bins: int = BINS) -> Reliability:
    """Samples by the confidence of their predicted class, in bins (b/n, (b+1)/n] of equal width.

    Shape: (N, K), (N,) -> bins
    """
    confidence, predicted = probabilities.double().max(-1)
    place = (confidence * bins).ceil().long().clamp(1, bins) - 1
    count = torch.bincount(place, minlength=bins)
    sums = torch.zeros(2, bins, dtype=torch.double)
    sums.index_add_(1, place, torch.stack([confidence, (predicted == labels).double()]))
    mean_confidence, accuracy = sums / count.clamp(min=1)
    ece = (count * (accuracy - mean_confidence).abs()).sum().item() / max(len(labels), 1)
    return Reliability(count, mean_confidence, accuracy, ece)


def worst_mistakes(probabilities: Tensor, labels: Tensor, most: int) -> Tensor:
    """Indices of the wrong predictions, most confident first. Shape: (N, K), (N,) -> (``most`` or fewer,)"""
    confidence, predicted = probabilities.max(-1)
    wrong = (predicted != labels).nonzero().flatten()
    return wrong[confidence[wrong].argsort(descending=True, stable=True)][:most]

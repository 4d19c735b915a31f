"""Numbers that a fitted classifier must keep to predict, and multiply-accumulates of one prediction."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Cost:
    """``support`` is the number of support vectors of each class; empty for what has none."""

    numbers: int
    macs: int
    support: tuple[int, ...] = ()


def linear_cost(model: Any) -> Cost:
    """One weighted sum for each class (for two classes, one in all): K (D + 1) numbers, K D MACs."""
    return Cost(model.coef_.size + model.intercept_.size, model.coef_.size)


def quadratic_cost(pipeline: Any) -> Cost:
    """P components of D pixels, the Q = P (P + 1) / 2 products of two, a weighted sum for each class.

    numbers  D + P D + K (Q + 1)        mean, components, weights
    MACs     P D + Q + K Q
    """
    pca, _, head = (step for _, step in pipeline.steps)
    projection, products, weights = pca.components_.size, head.coef_.shape[-1], head.coef_.size
    numbers = pca.mean_.size + projection + weights + head.intercept_.size
    return Cost(numbers, projection + products + weights)


def knn_cost(model: Any) -> Cost:
    """The whole training set: N (D + 1) numbers with the labels, N D MACs for N distances."""
    count, features = model.n_samples_fit_, model.n_features_in_
    return Cost(count * (features + 1), count * features)


def mlp_cost(model: Any) -> Cost:
    """Layers of n inputs and m outputs: n m MACs and (n + 1) m numbers each."""
    macs = sum(weights.size for weights in model.coefs_)
    return Cost(macs + sum(offsets.size for offsets in model.intercepts_), macs)

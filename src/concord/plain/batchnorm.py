"""Batch normalisation of one channel: the values x_1 ... x_B that one channel takes over a mini-batch.

Source: Yao, "Batch Normalization" (algorithm 2 there, algorithm 1 of S. Ioffe, C. Szegedy, "Batch
Normalization", 2015, arXiv:1502.03167; the backward pass is its section 3).

What the source leaves out: its four lines use the statistics of the batch, and while testing running
statistics stand in for them. They follow torch here: momentum 0.1 is the share of the new value (TensorFlow
calls the same 0.9), and the running variance is the unbiased one, with B - 1, while the normalisation divides
by B.

In a picture network the values of a channel are those of all samples and all places.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

from concord.plain.vectors import Vector, check_vector, dot

EPS = 1e-5


@dataclass(frozen=True)
class Normalised:
    """One forward pass: the results y, and what backward needs of it."""

    y: Vector
    x_hat: Vector
    mean: float
    variance: float


@dataclass(frozen=True)
class Running:
    """The statistics that replace the batch's while testing: the source starts nowhere, torch at 0 and 1."""

    mean: float = 0.0
    variance: float = 1.0


def forward(x: Sequence[float], gamma: float, beta: float, eps: float = EPS) -> Normalised:
    """The four lines of the source, sums over b = 1 ... B.

    mu      = 1/B sum_b x_b
    sigma^2 = 1/B sum_b (x_b - mu)^2
    x^_b    = (x_b - mu) / sqrt(sigma^2 + eps)
    y_b     = gamma x^_b + beta
    """
    check_batch(x, eps)
    mean = sum(x) / len(x)
    variance = sum((x_b - mean) ** 2 for x_b in x) / len(x)
    x_hat = [(x_b - mean) / sqrt(variance + eps) for x_b in x]
    return Normalised([gamma * x_b + beta for x_b in x_hat], x_hat, mean, variance)


def backward(
    dy: Sequence[float], passed: Normalised, gamma: float, eps: float = EPS
) -> tuple[Vector, float, float]:
    """(dL/dx, dL/dgamma, dL/dbeta) from dL/dy, with s = sqrt(sigma^2 + eps).

    dL/dgamma = sum_b dy_b x^_b        dL/dbeta = sum_b dy_b        dx^_b = gamma dy_b
    dL/dsigma^2 = -1/(2 s^2) sum_b dx^_b x^_b
    dL/dmu      = -1/s sum_b dx^_b         (through sigma^2 mu has no effect: sum_b (x_b - mu) = 0)
    dL/dx_b     = dx^_b / s + dL/dsigma^2 2 (x_b - mu) / B + dL/dmu / B,      x_b - mu = s x^_b
    """
    size, s = len(passed.x_hat), sqrt(passed.variance + eps)
    check_vector(dy, size, "dy")
    dx_hat = [gamma * dy_b for dy_b in dy]
    d_variance = -dot(dx_hat, passed.x_hat) / (2 * s**2)
    d_mean = -sum(dx_hat) / s
    dx = [
        dx_hat_b / s + d_variance * 2 * s * x_hat_b / size + d_mean / size
        for dx_hat_b, x_hat_b in zip(dx_hat, passed.x_hat, strict=True)
    ]
    return dx, dot(dy, passed.x_hat), sum(dy)


def remember(running: Running, passed: Normalised, momentum: float = 0.1) -> Running:
    """r <- (1 - momentum) r + momentum * new, for the mean and for the unbiased variance B/(B-1) sigma^2."""
    size = len(passed.y)
    unbiased = passed.variance * size / (size - 1)
    return Running(
        (1 - momentum) * running.mean + momentum * passed.mean,
        (1 - momentum) * running.variance + momentum * unbiased,
    )


def while_testing(
    x: Sequence[float], running: Running, gamma: float, beta: float, eps: float = EPS
) -> Vector:
    """y_b = gamma (x_b - running mean) / sqrt(running variance + eps) + beta: no sample sees the others."""
    if running.variance < 0:
        raise ValueError(f"running variance: expected at least 0, got {running.variance:g}")
    s = sqrt(running.variance + eps)
    return [gamma * (x_b - running.mean) / s + beta for x_b in x]


def check_batch(x: Sequence[float], eps: float) -> None:
    """ValueError for fewer than two values (variance 0: y is beta whatever x is) and for eps <= 0."""
    if len(x) < 2:
        raise ValueError(f"batch: expected at least 2 values to normalise over, got {len(x)}")
    if not eps > 0:
        raise ValueError(f"eps: expected more than 0, got {eps:g}")

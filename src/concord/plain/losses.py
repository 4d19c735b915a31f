"""Softmax with cross-entropy, and squared error: one number per sample, and its gradient.

Source: the USTH CNN, sections II.A.3 and II.B.3, which names both losses.
"""

from math import exp, log

from concord.plain.vectors import Vector


def log_softmax(z: Vector) -> Vector:
    """z_i - max z - ln sum_j e^(z_j - max z), which no z can make overflow. Shape: (K,) -> (K,)"""
    largest = max(z)
    total = log(sum(exp(number - largest) for number in z))
    return [number - largest - total for number in z]


def softmax(z: Vector) -> Vector:
    """e^z_i / sum_j e^z_j. Shape: (K,) -> (K,)"""
    return [exp(number) for number in log_softmax(z)]


def cross_entropy(z: Vector, label: int) -> float:
    """-ln softmax(z)[label], 0 when the label is certain. Shape: (K,) -> ()"""
    return -log_softmax(z)[label]


def cross_entropy_slope(z: Vector, label: int) -> Vector:
    """dL/dz_i = softmax(z)_i - [i = label]. Shape: (K,) -> (K,)"""
    return [p - (i == label) for i, p in enumerate(softmax(z))]


def squared_error(y: Vector, target: Vector) -> float:
    """1/2 sum_i (y_i - target_i)^2, as J of Yao has it for one sample. Shape: (K,), (K,) -> ()"""
    return sum((a - b) ** 2 for a, b in zip(y, target, strict=True)) / 2


def squared_error_slope(y: Vector, target: Vector) -> Vector:
    """dL/dy_i = y_i - target_i. Shape: (K,), (K,) -> (K,)"""
    return [a - b for a, b in zip(y, target, strict=True)]

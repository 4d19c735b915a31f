"""A dense (fully connected) layer and ReLU, forward and backward.

Source: the USTH CNN, sections II.A.3 and II.B.3.
"""

from operator import mul
from random import Random

from concord.plain.vectors import Matrix, Vector, add_scaled, check_vector, he, outer, transposed_times


class Dense:
    """y[k] = b[k] + sum_d w[k][d] x[d].  Shape: (D,) -> (K,)"""

    def __init__(self, inputs: int, outputs: int) -> None:
        self.weights: Matrix = [[0.0] * inputs for _ in range(outputs)]
        self.biases: Vector = [0.0] * outputs

    def start(self, random: Random) -> None:
        """He's start: weights ~ N(0, 2 / D), biases 0."""
        self.weights = he(len(self.weights), len(self.weights[0]), random)
        self.biases = [0.0] * len(self.biases)

    def forward(self, x: Vector) -> Vector:
        """One sum of products for every output."""
        check_vector(x, len(self.weights[0]), "the input of a dense layer")
        self.x = x
        return [sum(map(mul, w, x), b) for w, b in zip(self.weights, self.biases, strict=True)]

    def backward(self, dy: Vector) -> Vector:
        """dL/dx[d] = sum_k w[k][d] dy[k], and dL/db = dy. Behind ReLU many dy are 0 and add nothing."""
        self.biases_slope = dy
        used = [k for k, d in enumerate(dy) if d]
        if not used:
            return [0.0] * len(self.x)
        return transposed_times([self.weights[k] for k in used], [dy[k] for k in used])

    @property
    def weights_slope(self) -> Matrix:
        """dL/dw[k][d] = dy[k] x[d]."""
        return outer(self.biases_slope, self.x)

    def descend(self, rate: float) -> None:
        """w[k] <- w[k] - rate dy[k] x, which is w - rate dL/dw row by row, and b <- b - rate dL/db."""
        for k, d in enumerate(self.biases_slope):
            if d:
                self.weights[k] = add_scaled(self.weights[k], -rate * d, self.x)
        self.biases = add_scaled(self.biases, -rate, self.biases_slope)


def relu(a: Vector) -> Vector:
    """max(0, a) of every number. Shape: (D,) -> (D,)"""
    return [0.0 if number <= 0 else number for number in a]  # nan stays nan


def relu_backward(a: Vector, dy: Vector) -> Vector:
    """dy where a > 0, else 0; at a = 0 the slope is 0, as in PyTorch. Shape: (D,), (D,) -> (D,)"""
    return [0.0 if number <= 0 else d for number, d in zip(a, dy, strict=True)]

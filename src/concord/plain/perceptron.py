"""Rosenblatt's perceptron, and how many updates it can need.

Source: Yao, "The Perceptron Algorithm" and "Finite Stop of Perceptron for Separable Data" (theorem 1
of H. D. Block, 1962, and A. Novikoff, 1962, in the version of N. Cristianini and J. Shawe-Taylor, 2000).

Errata of the source, put right here:
  * It prints the update w - eta y x. Its own loss l(w) = -sum_{mistakes} y <w, x> has the gradient -y x, so
    that descent is w + eta y x.
  * It calls y <w, x> < 0 a mistake. From w = 0, where the theorem starts, that is never true and nothing
    moves: a mistake is y <w, x> <= 0, as in its proof.
  * Its proof bounds the bias by b <= R. It needs |b| <= R; every unit separator of two classes has it,
    because with |b| > R all samples lie on one side. With a single class the bound can fail, and is refused
    here.

From w = 0 the step size eta only scales w, and no decision depends on it: eta = 1, as in the proof.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import hypot

from concord.plain.vectors import Vector, add_scaled, check_matrix, dot, scaled, zeros

Samples = Sequence[Sequence[float]]
LARGEST = 1e75  # above it <w, x> could overflow, and a number that is none is neither right nor a mistake


@dataclass(frozen=True)
class Perceptron:
    """What the algorithm found: the plane <w, x> + b = 0, and the work it took.

    An epoch is one pass over the samples. With separated=True the last one was free of mistakes.
    """

    weights: tuple[float, ...]
    bias: float
    updates: int
    epochs: int
    separated: bool

    def __str__(self) -> str:
        work = f"{self.updates} updates in {self.epochs} epochs"
        if self.separated:
            return f"separated after {work}"
        return f"not separated after {work}: the data are not linearly separable, or need more epochs"

    def decide(self, x: Sequence[float]) -> int:
        """1 where <w, x> + b > 0, -1 elsewhere."""
        if len(x) != len(self.weights):
            raise ValueError(f"sample: expected {len(self.weights)} numbers, got {len(x)}")
        return 1 if dot(self.weights, x) + self.bias > 0 else -1


def perceptron(
    samples: Samples, labels: Sequence[int], *, bias: bool = True, epochs: int = 1000
) -> Perceptron:
    """Passes over the samples in their order until one pass is free of mistakes, at most `epochs` passes.

        w <- w + y x   where y <w, x> <= 0,   w = 0 at first,   y = -1 or 1

    With a bias each sample is augmented as in the proof, x^ = (x, R) and w^ = (w, b/R), so that
    <w^, x^> = <w, x> + b. No number of epochs proves that data cannot be separated: a linear program does.

    Errors: ValueError for no samples, ragged rows, numbers that are not finite, labels other than -1 and 1.
    """
    check_samples(samples, labels)
    if epochs < 1:
        raise ValueError(f"epochs: expected at least 1, got {epochs}")
    r = radius(samples)
    inputs = [[*x, r] for x in samples] if bias else [list(x) for x in samples]
    w, updates, epoch, separated = zeros(len(inputs[0])), 0, 0, False
    while epoch < epochs and not separated:
        w, mistakes = one_pass(w, inputs, labels)
        updates, epoch, separated = updates + mistakes, epoch + 1, mistakes == 0
    if bias:
        return Perceptron(tuple(w[:-1]), r * w[-1], updates, epoch, separated)
    return Perceptron(tuple(w), 0.0, updates, epoch, separated)


def one_pass(w: Vector, samples: Samples, labels: Sequence[int]) -> tuple[Vector, int]:
    """Every sample once: the new weights, and the number of mistakes (= updates)."""
    mistakes = 0
    for x, y in zip(samples, labels, strict=True):
        if y * dot(w, x) <= 0:
            w = add_scaled(w, y, x)
            mistakes += 1
    return w, mistakes


def radius(samples: Samples) -> float:
    """R = max_i ||x_i||; 1 if all samples are zero, since the proof asks for any ball with R > 0."""
    return max(hypot(*x) for x in samples) or 1.0


def margin(samples: Samples, labels: Sequence[int], weights: Sequence[float], bias: float = 0.0) -> float:
    """gamma = min_i y_i (<w, x_i> + b), the functional margin of the plane as it is given."""
    check_samples(samples, labels)
    if len(weights) != len(samples[0]):
        raise ValueError(f"weights: expected {len(samples[0])} numbers, got {len(weights)}")
    return min(y * (dot(weights, x) + bias) for x, y in zip(samples, labels, strict=True))


def novikoff_bound(
    samples: Samples, labels: Sequence[int], weights: Sequence[float], bias: float | None = None
) -> float:
    """The largest number of updates k that the convergence theorem allows, given any one separator.

        k <= (2 R / gamma)^2 with a bias,   k <= (R / gamma)^2 without (bias=None)

    R = max_i ||x_i||, gamma = min_i y_i (<w, x_i> + b) for ||w|| = 1: (w, b) is brought to that length first.
    The better the separator, the smaller the bound; its order of samples plays no part.

    Errors: ValueError if the plane does not separate the samples, or if |b| > R.
    """
    length = hypot(*weights)
    if not length > 0:
        raise ValueError("weights: expected a vector other than zero, got one of length 0")
    w, b = scaled(1 / length, weights), (bias or 0.0) / length
    gamma, r = margin(samples, labels, w, b), radius(samples)
    if not gamma > 0:
        raise ValueError(f"expected a plane that separates the samples, got one of margin {gamma:g}")
    if abs(b) > r:
        raise ValueError(f"bias: expected |b| <= R = {r:g} for ||w|| = 1 (the proof needs it), got {b:g}")
    return (r / gamma) ** 2 if bias is None else (2 * r / gamma) ** 2


def check_samples(samples: Samples, labels: Sequence[int]) -> None:
    """ValueError unless there are samples of one length, of finite numbers, each with a label of -1 or 1."""
    check_matrix(samples, "samples")
    if len(labels) != len(samples):
        raise ValueError(f"labels: expected {len(samples)}, one for each sample, got {len(labels)}")
    for i, (x, y) in enumerate(zip(samples, labels, strict=True)):
        if not hypot(*x) < LARGEST:  # a NaN is not below anything
            raise ValueError(
                f"samples: expected finite numbers and ||x|| < {LARGEST:g}, got {list(x)} in row {i}"
            )
        if y not in (-1, 1):
            raise ValueError(f"labels: expected -1 or 1, got {y!r} for sample {i}: map 0 to -1 first")

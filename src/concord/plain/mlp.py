"""The multilayer perceptron: forward pass, and back-propagation as the adjoint equations of a Lagrangian.

Source: Yao, "BP Algorithm: Forward Pass" and "Derivation of BP: Lagrangian Multiplier" (Y. LeCun, "A
Theoretical Framework for Back-Propagation", 1988; D. Rumelhart, G. Hinton, R. Williams, 1986).

Learning is a constrained problem: make sum_i ||y_i - x_i(L)||^2 small, subject to x(l) = f(A(l)),
A(l) = W(l) x(l-1) + b(l). With multipliers B(l) the Lagrangian of one sample is

    ||x(L) - y||^2 + sum_l B(l)' (x(l) - f(A(l)))

Its derivative by B gives the forward pass; by x, with z(l) = f'(A(l)) o B(l), the backward pass; by
W(l), -z(l) x(l-1)'.

Errata of the source:
  * It has two objectives. Its first, J = 1/n sum_i 1/2 ||y_i - x_i||^2, is 1/(2n) of the Lagrangian's, and
    with it the factor 2 of z(L) would be 1/n. Here the Lagrangian's is used. (One line prints the norm
    without its square.)
  * It prints W <- W + lambda dL/dW above the right W <- W + lambda z x'. They differ in sign:
    dL/dW = -z x'.
  * Its Lagrangian has no bias although its forward pass has one. A bias is the weight of a constant input 1:
    b <- b + lambda z.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import exp, sqrt, tanh
from random import Random
from typing import NamedTuple

from concord.plain.vectors import (
    Matrix,
    Vector,
    add_outer,
    add_scaled,
    check_matrix,
    check_vector,
    descend,
    each,
    hadamard,
    plus,
    scaled,
    times,
    transposed_times,
    zero_matrix,
    zeros,
)


class Activation(NamedTuple):
    """A function f of one number and its derivative f', both of the sum A that goes in."""

    f: Callable[[float], float]
    slope: Callable[[float], float]


def logistic(a: float) -> float:
    """1 / (1 + e^-a), written so that e is never raised to a large positive power."""
    return 1 / (1 + exp(-a)) if a >= 0 else exp(a) / (1 + exp(a))


sigmoid = Activation(logistic, lambda a: logistic(a) * (1 - logistic(a)))
hyperbolic = Activation(tanh, lambda a: 1 - tanh(a) ** 2)
relu = Activation(lambda a: max(a, 0.0), lambda a: 1.0 if a > 0 else 0.0)
identity = Activation(lambda a: a, lambda a: 1.0)


@dataclass(frozen=True)
class Layer:
    """x = f(W u + b): weights (outputs, inputs), one bias per output. Training changes the lists."""

    weights: Matrix
    bias: Vector
    activation: Activation


class Pass(NamedTuple):
    """The sums A(1..L) and the outputs x(0..L) of one forward pass: sums[l - 1] belongs to outputs[l]."""

    sums: list[Vector]
    outputs: list[Vector]


class Gradient(NamedTuple):
    """dE/dW(l) and dE/db(l) of one layer, E = sum_i ||y_i - x_i(L)||^2."""

    weights: Matrix
    bias: Vector


def start(widths: Sequence[int], activations: Sequence[Activation], seed: int) -> list[Layer]:
    """A network of widths[0] inputs and widths[-1] outputs.

    Weights are uniform in +-sqrt(6 / (inputs + outputs)) (X. Glorot, Y. Bengio, 2010), biases zero.
    """
    if len(widths) < 2 or min(widths) < 1:
        raise ValueError(f"widths: expected at least 2 numbers of at least 1, got {list(widths)}")
    if len(activations) != len(widths) - 1:
        raise ValueError(f"activations: expected {len(widths) - 1}, one per layer, got {len(activations)}")
    random, layers = Random(seed), []
    for (inputs, outputs), activation in zip(pairwise(widths), activations, strict=True):
        limit = sqrt(6 / (inputs + outputs))
        weights = [[random.uniform(-limit, limit) for _ in range(inputs)] for _ in range(outputs)]
        layers.append(Layer(weights, zeros(outputs), activation))
    return layers


def forward(layers: Sequence[Layer], x: Sequence[float]) -> Pass:
    """A(l) = W(l) x(l-1) + b(l),   x(l) = f(A(l)),   l = 1 ... L."""
    check_input(layers, x)
    sums, outputs = [], [list(x)]
    for layer in layers:
        sums.append(plus(times(layer.weights, outputs[-1]), layer.bias))
        outputs.append(each(layer.activation.f, sums[-1]))
    return Pass(sums, outputs)


def backward(layers: Sequence[Layer], passed: Pass, y: Sequence[float]) -> list[Vector]:
    """The adjoint pass: [z(1), ..., z(L)] of one sample.

        z(L) = 2 f'(A(L)) o (y - x(L))
        z(l) = f'(A(l)) o W(l+1)' z(l+1),   l = L-1 ... 1

    z(l) is minus the derivative of ||y - x(L)||^2 by A(l).
    """
    check_vector(y, len(passed.outputs[-1]), "target")
    slopes = [each(layer.activation.slope, a) for layer, a in zip(layers, passed.sums, strict=True)]
    error = [2 * (y_j - x_j) for y_j, x_j in zip(y, passed.outputs[-1], strict=True)]
    z = [hadamard(slopes[-1], error)]
    for above, slope in zip(reversed(layers[1:]), reversed(slopes[:-1]), strict=True):
        z.insert(0, hadamard(slope, transposed_times(above.weights, z[0])))
    return z


def gradients(
    layers: Sequence[Layer], samples: Sequence[Sequence[float]], targets: Sequence[Sequence[float]]
) -> list[Gradient]:
    """dE/dW(l) = -sum_i z_i(l) x_i(l-1)',   dE/db(l) = -sum_i z_i(l)."""
    check_pairs(samples, targets)
    total = [Gradient(zero_matrix(*check_layer(layer)), zeros(len(layer.bias))) for layer in layers]
    for x, y in zip(samples, targets, strict=True):
        passed = forward(layers, x)
        for sums, z, below in zip(total, backward(layers, passed, y), passed.outputs, strict=False):
            add_outer(sums.weights, scaled(-1, z), below)
            sums.bias[:] = add_scaled(sums.bias, -1, z)
    return total


def update(layers: Sequence[Layer], slopes: Sequence[Gradient], rate: float) -> None:
    """W(l) <- W(l) + lambda sum_i z_i(l) x_i(l-1)',   b(l) <- b(l) + lambda sum_i z_i(l), in place."""
    for layer, slope in zip(layers, slopes, strict=True):
        descend(layer.weights, rate, slope.weights)
        descend([layer.bias], rate, [slope.bias])


def objective(
    layers: Sequence[Layer], samples: Sequence[Sequence[float]], targets: Sequence[Sequence[float]]
) -> float:
    """E = sum_i ||y_i - x_i(L)||^2; the source's J is E / (2 n)."""
    check_pairs(samples, targets)
    total = 0.0
    for x, y in zip(samples, targets, strict=True):
        output = forward(layers, x).outputs[-1]
        check_vector(y, len(output), "target")
        total += sum((y_j - x_j) ** 2 for y_j, x_j in zip(y, output, strict=True))
    return total


def train(
    layers: Sequence[Layer],
    samples: Sequence[Sequence[float]],
    targets: Sequence[Sequence[float]],
    *,
    rate: float,
    epochs: int,
) -> list[float]:
    """Gradient descent over all samples at once, `epochs` times; E before each update. Changes the layers."""
    curve = []
    for _ in range(epochs):
        curve.append(objective(layers, samples, targets))
        update(layers, gradients(layers, samples, targets), rate)
    return curve


def check_layer(layer: Layer) -> tuple[int, int]:
    """(outputs, inputs) of a layer; ValueError if weights are ragged or the biases do not fit."""
    outputs, inputs = check_matrix(layer.weights, "weights")
    check_vector(layer.bias, outputs, "bias")
    return outputs, inputs


def check_input(layers: Sequence[Layer], x: Sequence[float]) -> None:
    """ValueError unless there is a layer, each fits the one below, and x the first."""
    if not layers:
        raise ValueError("layers: expected at least one, got none")
    shapes = [check_layer(layer) for layer in layers]
    for number, ((below, _), (_, inputs)) in enumerate(pairwise(shapes), 2):
        if inputs != below:
            raise ValueError(
                f"layer {number}: expected {below} inputs, the outputs of the layer below, got {inputs}"
            )
    check_vector(x, shapes[0][1], "input")


def check_pairs(samples: Sequence[Sequence[float]], targets: Sequence[Sequence[float]]) -> None:
    """ValueError unless there are samples, each with a target."""
    if not samples or len(samples) != len(targets):
        raise ValueError(
            f"expected samples and as many targets, got {len(samples)} samples and {len(targets)} targets"
        )

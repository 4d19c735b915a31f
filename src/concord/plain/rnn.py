"""The vanilla recurrent network: forward over a sequence, and back-propagation through time as sums.

Source: Kalkan, "The Vanilla RNN Model", "Backpropagation through Vanilla RNN" and "Initial hidden state".

Departures from the source:
  * Biases b_h and b_y. Its slides have none: with zeros in them this is the source's cell.
  * The loss is taken from the scores W_hy h_t + b_y: a softmax may become 0, and its logarithm cannot be had.
  * Truncated back-propagation (`chunk`) is not in the source: long sequences are trained with it.

The initial state h_0 is a parameter of the cell, as the source advises, and gets its gradient.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import tanh

from concord.plain.losses import cross_entropy, cross_entropy_slope
from concord.plain.vectors import (
    Matrix,
    Vector,
    add_outer,
    check_matrix,
    check_sequence,
    check_vector,
    each,
    hadamard,
    plus,
    times,
    transposed_times,
    zero_matrix,
    zeros,
)


@dataclass(frozen=True)
class RNN:
    """The parameters, and in the same form their gradients: I inputs, H hidden numbers, K classes."""

    W_xh: Matrix  # (H, I)
    W_hh: Matrix  # (H, H)
    W_hy: Matrix  # (K, H)
    b_h: Vector  # (H)
    b_y: Vector  # (K)
    h_0: Vector  # (H)


@dataclass(frozen=True)
class Unfolded:
    """One forward pass over T steps: states[t] is h_t with h_0 first; scores[t - 1] = W_hy h_t + b_y."""

    states: list[Vector]
    scores: list[Vector]


def step(cell: RNN, x: Sequence[float], h: Sequence[float]) -> Vector:
    """h_t = tanh(W_xh x_t + W_hh h_{t-1} + b_h)."""
    return each(tanh, plus(times(cell.W_xh, x), times(cell.W_hh, h), cell.b_h))


def forward(cell: RNN, inputs: Sequence[Sequence[float]]) -> Unfolded:
    """h_t = tanh(W_xh x_t + W_hh h_{t-1} + b_h),   scores_t = W_hy h_t + b_y,   t = 1 ... T."""
    check_cell(cell)
    check_sequence(inputs, len(cell.W_xh[0]))
    states = [list(cell.h_0)]
    for x in inputs:
        states.append(step(cell, x, states[-1]))
    return Unfolded(states, [plus(times(cell.W_hy, h), cell.b_y) for h in states[1:]])


def loss(unfolded: Unfolded, labels: Sequence[int]) -> float:
    """L = sum_t L_t,   L_t = CE(softmax(s_t), y_t) = -ln softmax(s_t)[y_t]."""
    check_labels(unfolded, labels)
    return sum(map(cross_entropy, unfolded.scores, labels))


def backward(
    cell: RNN,
    inputs: Sequence[Sequence[float]],
    labels: Sequence[int],
    unfolded: Unfolded,
    *,
    chunk: int | None = None,
) -> RNN:
    """Back-propagation through time: dL/dp for every parameter p of the cell, as sums over t.

        e_t       = softmax(s_t) - one_hot(y_t)                                       = dL/ds_t
        dL/dh_t   = W_hy' e_t + W_hh' d_{t+1}                        d_t = (1 - h_t^2) o dL/dh_t
        dL/dW_hy  = sum_t e_t h_t'          dL/db_y = sum_t e_t
        dL/dW_hh  = sum_t d_t h_{t-1}'      dL/dW_xh = sum_t d_t x_t'      dL/db_h = sum_t d_t
        dL/dh_0   = W_hh' d_1

    With a chunk of K steps (truncated) nothing goes back past steps K, 2K, ...: the state crosses, the
    gradient does not. K >= T is the full sum, and h_0 learns from the first chunk only.
    """
    check_sequence(inputs, len(cell.W_xh[0]))
    check_labels(unfolded, labels)
    if len(inputs) != len(labels):
        raise ValueError(f"inputs: expected {len(labels)}, one for each step of the pass, got {len(inputs)}")
    if chunk is not None and chunk < 1:
        raise ValueError(f"chunk: expected at least 1 step, got {chunk}")
    total, later = zero_gradient(cell), zeros(len(cell.h_0))  # later = W_hh' d_{t+1}
    for t in range(len(inputs), 0, -1):
        h, h_before = unfolded.states[t], unfolded.states[t - 1]
        if chunk and t % chunk == 0:
            later = zeros(len(h))
        e = cross_entropy_slope(unfolded.scores[t - 1], labels[t - 1])
        d = hadamard([1 - h_j**2 for h_j in h], plus(transposed_times(cell.W_hy, e), later))
        add_products(total, e, d, h, h_before, inputs[t - 1])
        later = transposed_times(cell.W_hh, d)
    total.h_0[:] = later
    return total


def add_products(total: RNN, e: Vector, d: Vector, h: Vector, h_before: Vector, x: Sequence[float]) -> None:
    """What step t adds to the sums: e_t h_t', d_t h_{t-1}', d_t x_t', e_t, d_t."""
    add_outer(total.W_hy, e, h)
    add_outer(total.W_hh, d, h_before)
    add_outer(total.W_xh, d, x)
    total.b_y[:] = plus(total.b_y, e)
    total.b_h[:] = plus(total.b_h, d)


def zero_gradient(cell: RNN) -> RNN:
    """Zeros in the form of the cell."""
    hidden, inputs, classes = len(cell.h_0), len(cell.W_xh[0]), len(cell.b_y)
    return RNN(
        zero_matrix(hidden, inputs),
        zero_matrix(hidden, hidden),
        zero_matrix(classes, hidden),
        zeros(hidden),
        zeros(classes),
        zeros(hidden),
    )


def check_cell(cell: RNN) -> None:
    """ValueError unless W_xh is (H, I), W_hh (H, H), W_hy (K, H), b_h and h_0 of H and b_y of K numbers."""
    hidden, _ = check_matrix(cell.W_xh, "W_xh")
    classes, read = check_matrix(cell.W_hy, "W_hy")
    square = check_matrix(cell.W_hh, "W_hh")
    if square != (hidden, hidden) or read != hidden:
        raise ValueError(
            f"expected W_hh of ({hidden}, {hidden}) and W_hy of (K, {hidden}) beside W_xh of {hidden} rows, "
            f"got {square} and {(classes, read)}"
        )
    for vector, size, name in [
        (cell.b_h, hidden, "b_h"),
        (cell.h_0, hidden, "h_0"),
        (cell.b_y, classes, "b_y"),
    ]:
        check_vector(vector, size, name)


def check_labels(unfolded: Unfolded, labels: Sequence[int]) -> None:
    """ValueError unless every step has a label that is a class."""
    steps, classes = len(unfolded.scores), len(unfolded.scores[0])
    if len(labels) != steps:
        raise ValueError(f"labels: expected {steps}, one for each step, got {len(labels)}")
    for t, label in enumerate(labels, 1):
        if not 0 <= label < classes:
            raise ValueError(f"labels: expected 0 to {classes - 1}, got {label} at step {t}")

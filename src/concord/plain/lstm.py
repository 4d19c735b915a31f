"""The long short-term memory cell over a sequence: forward, and backward written out.

Source: Kalkan, "LSTM in detail" (S. Hochreiter, J. Schmidhuber, 1997; forget gate: F. Gers, 2000).

Notes on the source:
  * Its a is split in the order f, i, g, o, which is used here. torch.nn.LSTM has i, f, g, o, and two biases
    whose sum is this b: a converter permutes and adds.
  * Its "alternative formulation" (i_t = g(W_xi x_t + ...)) is the same cell; g is the sigmoid in it, here and
    in "LSTM in detail" the candidate.
  * Its peephole and coupled variants are not here.

The initial states h_0 and c_0 are arguments (the source advises to learn them) and get their gradients.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import tanh
from typing import NamedTuple

from concord.plain.mlp import logistic
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
class LSTM:
    """The parameters: I inputs, H hidden numbers, the rows of the gates one below the other, f, i, g, o."""

    W_x: Matrix  # (4H, I)
    W_h: Matrix  # (4H, H)
    b: Vector  # (4H)


class Step(NamedTuple):
    """One step forward: the gates f, i, o, the candidate g, the cell state c and the hidden state h."""

    f: Vector
    i: Vector
    g: Vector
    o: Vector
    c: Vector
    h: Vector


@dataclass(frozen=True)
class Gradients:
    """dL/dp for the parameters, for every input x_t and for the initial states."""

    W_x: Matrix
    W_h: Matrix
    b: Vector
    inputs: list[Vector]
    h_0: Vector
    c_0: Vector


def step(cell: LSTM, x: Sequence[float], h: Sequence[float], c: Sequence[float]) -> Step:
    """One step from (h_{t-1}, c_{t-1}).

    a = W_x x_t + W_h h_{t-1} + b,   a_f, a_i, a_g, a_o <- a
    f = sigma(a_f)   i = sigma(a_i)   g = tanh(a_g)   o = sigma(a_o)
    c_t = f o c_{t-1} + i o g
    h_t = o o tanh(c_t)
    """
    a = plus(times(cell.W_x, x), times(cell.W_h, h), cell.b)
    a_f, a_i, a_g, a_o = quarters(a)
    f, i, g, o = each(logistic, a_f), each(logistic, a_i), each(tanh, a_g), each(logistic, a_o)
    c_t = plus(hadamard(f, c), hadamard(i, g))
    return Step(f, i, g, o, c_t, hadamard(o, each(tanh, c_t)))


def forward(
    cell: LSTM, inputs: Sequence[Sequence[float]], h_0: Sequence[float], c_0: Sequence[float]
) -> list[Step]:
    """The steps t = 1 ... T, each from the states of the one before."""
    check_cell(cell, h_0, c_0)
    check_sequence(inputs, len(cell.W_x[0]))
    steps: list[Step] = []
    h, c = h_0, c_0
    for x in inputs:
        steps.append(step(cell, x, h, c))
        h, c = steps[-1].h, steps[-1].c
    return steps


def step_backward(s: Step, c_before: Sequence[float], dh: Vector, dc_later: Vector) -> tuple[Vector, Vector]:
    """(dL/da, dL/dc_{t-1}) of one step, from dL/dh_t and from what c_t owes to later steps.

        dL/dc_t = dL/dh_t o o o (1 - tanh(c_t)^2) + dc_later       dL/dc_{t-1} = f o dL/dc_t
        da_f = dc_t o c_{t-1} o f (1 - f)       da_i = dc_t o g o i (1 - i)
        da_g = dc_t o i o (1 - g^2)             da_o = dh_t o tanh(c_t) o o (1 - o)

    Through f alone the cell state comes back, undamped where the gate is open: the "constant error carousel".
    """
    m = each(tanh, s.c)
    dc = [dh_k * o * (1 - m_k**2) + later for dh_k, o, m_k, later in zip(dh, s.o, m, dc_later, strict=True)]
    da_f = [d * before * f * (1 - f) for d, before, f in zip(dc, c_before, s.f, strict=True)]
    da_i = [d * g * i * (1 - i) for d, g, i in zip(dc, s.g, s.i, strict=True)]
    da_g = [d * i * (1 - g**2) for d, i, g in zip(dc, s.i, s.g, strict=True)]
    da_o = [d * m_k * o * (1 - o) for d, m_k, o in zip(dh, m, s.o, strict=True)]
    return da_f + da_i + da_g + da_o, hadamard(s.f, dc)


def backward(
    cell: LSTM,
    inputs: Sequence[Sequence[float]],
    h_0: Sequence[float],
    c_0: Sequence[float],
    steps: Sequence[Step],
    dh: Sequence[Sequence[float]],
) -> Gradients:
    """Back-propagation through time; dh[t - 1] is what the loss itself asks of h_t (zeros where it does not
    see it).

    dL/dh_t  = dh[t - 1] + W_h' da_{t+1}       dL/dx_t = W_x' da_t
    dL/dW_x = sum_t da_t x_t'     dL/dW_h = sum_t da_t h_{t-1}'     dL/db = sum_t da_t
    """
    check_sequence(inputs, len(cell.W_x[0]))
    check_errors(dh, steps)
    if len(inputs) != len(steps):
        raise ValueError(f"inputs: expected {len(steps)}, one for each step of the pass, got {len(inputs)}")
    hidden = len(h_0)
    W_x, W_h, b = (
        zero_matrix(4 * hidden, len(cell.W_x[0])),
        zero_matrix(4 * hidden, hidden),
        zeros(4 * hidden),
    )
    dx, dh_later, dc = [], zeros(hidden), zeros(hidden)
    for t in range(len(steps) - 1, -1, -1):
        h_before, c_before = (steps[t - 1].h, steps[t - 1].c) if t else (h_0, c_0)
        da, dc = step_backward(steps[t], c_before, plus(dh[t], dh_later), dc)
        add_outer(W_x, da, inputs[t])
        add_outer(W_h, da, h_before)
        b = plus(b, da)
        dx.append(transposed_times(cell.W_x, da))
        dh_later = transposed_times(cell.W_h, da)
    return Gradients(W_x, W_h, b, dx[::-1], dh_later, dc)


def quarters(a: Vector) -> tuple[Vector, Vector, Vector, Vector]:
    """The four vectors of one size that a consists of."""
    size = len(a) // 4
    return a[:size], a[size : 2 * size], a[2 * size : 3 * size], a[3 * size :]


def check_cell(cell: LSTM, h_0: Sequence[float], c_0: Sequence[float]) -> None:
    """ValueError unless W_x is (4H, I), W_h (4H, H), b of 4H and the states of H numbers."""
    rows, _ = check_matrix(cell.W_x, "W_x")
    shape = check_matrix(cell.W_h, "W_h")
    if shape[0] != rows or 4 * shape[1] != rows:
        raise ValueError(f"expected W_x of (4H, I) and W_h of (4H, H), got {rows} rows and {shape}")
    for vector, size, name in [(cell.b, rows, "b"), (h_0, shape[1], "h_0"), (c_0, shape[1], "c_0")]:
        check_vector(vector, size, name)


def check_errors(dh: Sequence[Sequence[float]], steps: Sequence[Step]) -> None:
    """ValueError unless there is one dL/dh_t per step, of H numbers."""
    if len(dh) != len(steps):
        raise ValueError(f"dh: expected {len(steps)} vectors, one for each step, got {len(dh)}")
    for t, (d, s) in enumerate(zip(dh, steps, strict=True), 1):
        check_vector(d, len(s.h), f"dh of step {t}")

"""The LSTM cell: a step by hand, every gradient against autograd through nn.LSTMCell."""

from math import exp, tanh
from random import Random

import pytest
import torch

from concord.plain import lstm
from concord.plain.lstm import LSTM

INPUTS = [[0.5, -1.0, 2.0], [1.5, 0.25, -0.5], [-0.75, 1.0, 0.0], [0.1, 0.9, -1.3]]
H_0, C_0 = [0.3, -0.6], [-0.8, 1.1]
ORDER = [1, 0, 2, 3]  # blocks f, i, g, o of the source as torch's i, f, g, o


def drawn(random, rows, columns):
    return [[random.uniform(-1, 1) for _ in range(columns)] for _ in range(rows)]


def cell_of(seed):
    """3 inputs, 2 hidden numbers."""
    random = Random(seed)
    return LSTM(drawn(random, 8, 3), drawn(random, 8, 2), drawn(random, 1, 8)[0])


def tensor(numbers):
    return torch.tensor(numbers, dtype=torch.float64, requires_grad=True)


def blocks(parameter):
    return torch.cat([parameter.chunk(4)[place] for place in ORDER])


def run_torch(cell, inputs, h_0, c_0):
    """(leaves, states h, last c): nn.LSTMCell with the numbers in its own order, one of its biases zero."""
    leaves = {"W_x": tensor(cell.W_x), "W_h": tensor(cell.W_h), "b": tensor(cell.b)}
    leaves |= {"h_0": tensor(h_0), "c_0": tensor(c_0), "inputs": tensor(inputs)}
    module = torch.nn.LSTMCell(len(inputs[0]), len(h_0), dtype=torch.float64)
    weights = {
        "weight_ih": blocks(leaves["W_x"]),
        "weight_hh": blocks(leaves["W_h"]),
        "bias_ih": blocks(leaves["b"]),
        "bias_hh": torch.zeros(4 * len(h_0), dtype=torch.float64),
    }
    state, states = (leaves["h_0"], leaves["c_0"]), []
    for x in leaves["inputs"]:
        state = torch.func.functional_call(module, weights, (x, state))
        states.append(state[0])
    return leaves, torch.stack(states), state[1]


def sigma(a):
    return 1 / (1 + exp(-a))


# --- by hand ------------------------------------------------------------------


def test_one_step_by_hand():
    # one input, one hidden number, rows f, i, g, o; x = 2, h_0 = -1, c_0 = 3
    cell = LSTM([[1.0], [0.5], [-0.25], [2.0]], [[0.5], [-1.0], [1.0], [3.0]], [0.25, 0.0, 1.0, -0.5])
    s = lstm.step(cell, [2.0], [-1.0], [3.0])
    f, i, g, o = sigma(1.75), sigma(2.0), tanh(-0.5), sigma(0.5)
    assert (s.f, s.i, s.g, s.o) == ([f], [i], [g], [o])
    assert s.c == [pytest.approx(3 * f + i * g)]
    assert s.h == [pytest.approx(o * tanh(3 * f + i * g))]


def test_gradients_of_one_step_by_hand():
    s = lstm.Step([0.25], [0.5], [-0.4], [0.8], [0.5], [0.8 * tanh(0.5)])
    da, dc_before = lstm.step_backward(s, [2.8], [3.0], [0.7])
    dc = 3 * 0.8 * (1 - tanh(0.5) ** 2) + 0.7
    assert da == pytest.approx(
        [dc * 2.8 * 0.25 * 0.75, dc * -0.4 * 0.5 * 0.5, dc * 0.5 * (1 - 0.16), 3 * tanh(0.5) * 0.8 * 0.2]
    )
    assert dc_before == [pytest.approx(0.25 * dc)]


def test_an_open_forget_gate_carries_cell_state_and_gradient_over_a_hundred_steps():
    # f = 1, i = 0: c_t = c_0, and dL/dc_0 is all that the last step asks of its cell state
    cell = LSTM([[0.0]] * 4, [[0.0]] * 4, [50.0, -50.0, 0.0, 0.0])
    inputs = [[1.0]] * 100
    steps = lstm.forward(cell, inputs, [0.0], [0.3])
    assert steps[-1].c == [pytest.approx(0.3)]
    dh = [[0.0]] * 99 + [[1.0]]
    found = lstm.backward(cell, inputs, [0.0], [0.3], steps, dh)
    assert found.c_0 == [pytest.approx(0.5 * (1 - tanh(0.3) ** 2))]


# --- against autograd ---------------------------------------------------------


@pytest.mark.parametrize("seed", range(4))
def test_states_and_every_gradient_equal_autograd(seed):
    cell, dh = cell_of(seed), drawn(Random(50 + seed), 4, 2)
    steps = lstm.forward(cell, INPUTS, H_0, C_0)
    leaves, states, last_c = run_torch(cell, INPUTS, H_0, C_0)
    torch.testing.assert_close(tensor([s.h for s in steps]), states, rtol=0, atol=1e-12)
    torch.testing.assert_close(tensor(steps[-1].c), last_c, rtol=0, atol=1e-12)
    (states * torch.tensor(dh, dtype=torch.float64)).sum().backward()
    ours = lstm.backward(cell, INPUTS, H_0, C_0, steps, dh)
    for name, leaf in leaves.items():
        mine = torch.tensor(getattr(ours, name), dtype=torch.float64)
        torch.testing.assert_close(mine, leaf.grad, rtol=0, atol=1e-10, msg=lambda m, n=name: f"{n}: {m}")


def test_gradients_equal_finite_differences():
    cell, dh = cell_of(9), [[0.0, 0.0]] * 3 + [[1.0, -2.0]]

    def last(c):
        h = lstm.forward(c, INPUTS, H_0, C_0)[-1].h
        return h[0] - 2 * h[1]

    ours = lstm.backward(cell, INPUTS, H_0, C_0, lstm.forward(cell, INPUTS, H_0, C_0), dh)
    for row in range(8):
        moved = []
        for nudge in (1e-6, -1e-6):
            b = [value + nudge * (j == row) for j, value in enumerate(cell.b)]
            moved.append(last(LSTM(cell.W_x, cell.W_h, b)))
        assert (moved[0] - moved[1]) / 2e-6 == pytest.approx(ours.b[row], abs=1e-8)


# --- refused ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cell", "h_0", "message"),
    [
        (LSTM([[1.0]] * 3, [[1.0]] * 3, [0.0] * 3), [0.0], r"W_x of \(4H, I\).*got 3 rows and \(3, 1\)"),
        (LSTM([[1.0]] * 4, [[1.0]] * 3, [0.0] * 4), [0.0], r"W_h of \(4H, H\), got 4 rows and \(3, 1\)"),
        (LSTM([[1.0]] * 4, [[1.0]] * 4, [0.0]), [0.0], "b: expected 4 numbers, got 1"),
        (LSTM([[1.0]] * 4, [[1.0]] * 4, [0.0] * 4), [0.0, 1.0], "h_0: expected 1 numbers, got 2"),
        (LSTM([[1.0], [1.0, 2.0]], [[1.0]], [0.0]), [0.0], "W_x: expected 1 numbers per row"),
    ],
)
def test_cells_that_do_not_fit_together_are_refused(cell, h_0, message):
    with pytest.raises(ValueError, match=message):
        lstm.forward(cell, [[1.0]], h_0, [0.0])


def test_sequences_that_do_not_fit_are_refused():
    cell = cell_of(0)
    with pytest.raises(ValueError, match="inputs: expected at least one step, got an empty sequence"):
        lstm.forward(cell, [], H_0, C_0)
    with pytest.raises(ValueError, match="x_1: expected 3 numbers, got 1"):
        lstm.forward(cell, [[1.0]], H_0, C_0)
    with pytest.raises(ValueError, match="c_0: expected 2 numbers, got 1"):
        lstm.forward(cell, INPUTS, H_0, [0.0])
    steps = lstm.forward(cell, INPUTS, H_0, C_0)
    with pytest.raises(ValueError, match="dh: expected 4 vectors, one for each step, got 1"):
        lstm.backward(cell, INPUTS, H_0, C_0, steps, [[0.0, 0.0]])
    with pytest.raises(ValueError, match="dh of step 2: expected 2 numbers, got 1"):
        lstm.backward(cell, INPUTS, H_0, C_0, steps, [[0.0, 0.0], [0.0], [0.0, 0.0], [0.0, 0.0]])
    with pytest.raises(ValueError, match="inputs: expected 4, one for each step of the pass, got 3"):
        lstm.backward(cell, INPUTS[:3], H_0, C_0, steps, [[0.0, 0.0]] * 4)

"""The vanilla recurrent network: a step by hand, every gradient against autograd, truncation."""

from dataclasses import astuple, replace
from functools import reduce
from math import exp, log, tanh
from random import Random

import pytest
import torch

from concord.plain import rnn
from concord.plain.rnn import RNN

NAMES = ["W_xh", "W_hh", "W_hy", "b_h", "b_y", "h_0"]
INPUTS = [[0.5, -1.0, 2.0], [1.5, 0.25, -0.5], [-0.75, 1.0, 0.0], [0.1, 0.9, -1.3], [-1.2, 0.4, 0.6]]
LABELS = [1, 3, 0, 2, 1]


def drawn(random, rows, columns):
    return [[random.uniform(-1, 1) for _ in range(columns)] for _ in range(rows)]


def cell_of(seed):
    """3 inputs, 2 hidden numbers, 4 classes."""
    random = Random(seed)
    vectors = [drawn(random, 1, size)[0] for size in (2, 4, 2)]
    return RNN(drawn(random, 2, 3), drawn(random, 2, 2), drawn(random, 4, 2), *vectors)


def loss_of_torch(cell, inputs, labels, chunk=None):
    """(parameters by name, loss): nn.RNNCell with the same weights, detached after every chunk."""
    tensors = [torch.tensor(part, dtype=torch.float64, requires_grad=True) for part in astuple(cell)]
    parameters = dict(zip(NAMES, tensors, strict=True))
    module = torch.nn.RNNCell(len(inputs[0]), len(cell.h_0), dtype=torch.float64)
    weights = {
        "weight_ih": parameters["W_xh"],
        "weight_hh": parameters["W_hh"],
        "bias_ih": parameters["b_h"],
        "bias_hh": torch.zeros(len(cell.h_0), dtype=torch.float64),
    }
    h, scores = parameters["h_0"], []
    for t, x in enumerate(inputs, 1):
        h = torch.func.functional_call(module, weights, (torch.tensor(x, dtype=torch.float64), h))
        scores.append(parameters["W_hy"] @ h + parameters["b_y"])
        if chunk and t % chunk == 0:
            h = h.detach()
    target = torch.tensor(labels)
    return parameters, torch.nn.functional.cross_entropy(torch.stack(scores), target, reduction="sum")


def gradients(cell, inputs, labels, chunk=None):
    return rnn.backward(cell, inputs, labels, rnn.forward(cell, inputs), chunk=chunk)


def assert_equal(ours, parameters):
    for name, parameter in parameters.items():
        mine = torch.tensor(getattr(ours, name), dtype=torch.float64)
        torch.testing.assert_close(
            mine, parameter.grad, rtol=0, atol=1e-10, msg=lambda m, n=name: f"{n}: {m}"
        )


# --- by hand ------------------------------------------------------------------


def small():
    """One input, one hidden number, two classes."""
    return RNN([[2.0]], [[0.5]], [[1.0], [-1.0]], [0.25], [0.0, 0.5], [1.0])


def test_two_steps_by_hand():
    passed = rnn.forward(small(), [[0.25], [-1.0]])
    h_1 = tanh(0.5 + 0.5 + 0.25)
    h_2 = tanh(-2 + 0.5 * h_1 + 0.25)
    assert passed.states == [[1.0], [pytest.approx(h_1)], [pytest.approx(h_2)]]
    assert passed.scores[1] == pytest.approx([h_2, -h_2 + 0.5])


def test_loss_by_hand():
    # scores (0, ln 3) and (ln 4, 0): probabilities 1/4, 3/4 and 4/5, 1/5
    passed = rnn.Unfolded([[0.0]] * 3, [[0.0, log(3)], [log(4), 0.0]])
    assert rnn.loss(passed, [1, 1]) == pytest.approx(log(4 / 3) + log(5))


def test_gradients_of_two_steps_by_hand():
    cell, h_0 = small(), 1.0
    passed = rnn.forward(cell, [[0.25], [-1.0]])
    h_1, h_2 = passed.states[1][0], passed.states[2][0]
    # with two classes softmax is a sigmoid of the difference of scores, 2 h - 1/2; labels 0 and 1
    e_1 = 1 / (1 + exp(0.5 - 2 * h_1)) - 1
    e_2 = 1 / (1 + exp(0.5 - 2 * h_2))
    d_2 = (1 - h_2**2) * 2 * e_2  # W_hy' (e, -e) = 2 e
    d_1 = (1 - h_1**2) * (2 * e_1 + 0.5 * d_2)
    ours = gradients(cell, [[0.25], [-1.0]], [0, 1])
    assert ours.W_hh == [[pytest.approx(d_1 * h_0 + d_2 * h_1)]]
    assert ours.W_xh == [[pytest.approx(0.25 * d_1 - d_2)]]
    assert ours.b_h == [pytest.approx(d_1 + d_2)]
    assert ours.W_hy == [[pytest.approx(e_1 * h_1 + e_2 * h_2)], [pytest.approx(-e_1 * h_1 - e_2 * h_2)]]
    assert ours.b_y == pytest.approx([e_1 + e_2, -e_1 - e_2])
    assert ours.h_0 == [pytest.approx(0.5 * d_1)]


# --- against autograd ---------------------------------------------------------


@pytest.mark.parametrize("seed", range(4))
def test_every_gradient_equals_autograd(seed):
    cell = cell_of(seed)
    parameters, loss = loss_of_torch(cell, INPUTS, LABELS)
    loss.backward()
    assert rnn.loss(rnn.forward(cell, INPUTS), LABELS) == pytest.approx(loss.item(), abs=1e-10)
    assert_equal(gradients(cell, INPUTS, LABELS), parameters)


@pytest.mark.parametrize("chunk", [1, 2, 3, 4, 5])
def test_truncated_gradients_equal_autograd_with_the_state_detached(chunk):
    parameters, loss = loss_of_torch(cell_of(7), INPUTS, LABELS, chunk)
    loss.backward()
    assert_equal(gradients(cell_of(7), INPUTS, LABELS, chunk), parameters)


def test_a_chunk_as_long_as_the_sequence_truncates_nothing():
    assert gradients(cell_of(1), INPUTS, LABELS, chunk=5) == gradients(cell_of(1), INPUTS, LABELS)
    assert gradients(cell_of(1), INPUTS, LABELS, chunk=4) != gradients(cell_of(1), INPUTS, LABELS)


def test_the_recursion_equals_the_products_of_jacobians_of_the_source():
    """dC_t/dW = sum_{t' <= t} dC_t/dh_t (prod_{k = t'+1}^t dh_k/dh_{k-1}) dh_t'/dW for W_hh, C_4 alone."""
    cell = cell_of(2)
    h = [torch.tensor(state, dtype=torch.float64) for state in rnn.forward(cell, INPUTS[:4]).states]
    w_hh, w_hy = (torch.tensor(w, dtype=torch.float64) for w in (cell.W_hh, cell.W_hy))
    probabilities = torch.softmax(w_hy @ h[4] + torch.tensor(cell.b_y, dtype=torch.float64), 0)
    row = (probabilities - torch.eye(4, dtype=torch.float64)[2]) @ w_hy  # dC_4/dh_4
    slopes = [torch.diag(1 - state**2) for state in h]
    total = torch.zeros(2, 2, dtype=torch.float64)
    for early in range(1, 5):
        jacobians = [slopes[k] @ w_hh for k in range(4, early, -1)]
        total += torch.outer(reduce(torch.matmul, jacobians, row) @ slopes[early], h[early - 1])
    of_four, of_three = gradients(cell, INPUTS[:4], [1, 3, 0, 2]), gradients(cell, INPUTS[:3], [1, 3, 0])
    ours = torch.tensor(of_four.W_hh, dtype=torch.float64) - torch.tensor(of_three.W_hh, dtype=torch.float64)
    torch.testing.assert_close(ours, total, rtol=0, atol=1e-12)


def test_small_recurrent_weights_make_the_gradient_of_the_start_vanish():
    """The source's exploding and vanishing: |W_hh| small or big, and twenty steps back to h_0."""
    inputs, labels = [[0.0]] * 20, [0] * 20
    sizes = []
    for w in (0.5, 2.0):
        cell = RNN([[1.0]], [[w]], [[1.0], [-1.0]], [0.0], [0.0, 0.0], [0.0])
        last = gradients(cell, inputs, labels).h_0[0] - gradients(cell, inputs[:-1], labels[:-1]).h_0[0]
        sizes.append(abs(last))  # what the last step alone asks of h_0: w^20 at h = 0
    assert sizes == pytest.approx([0.5**20, 2.0**20], rel=1e-6)


def test_scores_of_any_size_have_a_finite_loss():
    cell = replace(small(), W_hy=[[1e4], [-1e4]])
    passed = rnn.forward(cell, [[0.25]])
    assert rnn.loss(passed, [1]) == pytest.approx(2e4 * passed.states[1][0] - 0.5)


# --- refused ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"W_xh": [[1.0, 2.0, 3.0], [1.0]]}, "W_xh: expected 3 numbers per row as in row 0, got 1 in row 1"),
        ({"W_xh": []}, "W_xh: expected at least one row"),
        ({"W_hh": [[1.0, 2.0]]}, r"expected W_hh of \(2, 2\).*got \(1, 2\) and \(4, 2\)"),
        ({"W_hy": [[1.0, 2.0, 3.0]]}, r"W_hy of \(K, 2\).*got \(2, 2\) and \(1, 3\)"),
        ({"b_h": [1.0]}, "b_h: expected 2 numbers, got 1"),
        ({"b_y": [1.0]}, "b_y: expected 4 numbers, got 1"),
        ({"h_0": [1.0, 2.0, 3.0]}, "h_0: expected 2 numbers, got 3"),
    ],
)
def test_cells_that_do_not_fit_together_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        rnn.forward(replace(cell_of(0), **change), INPUTS)


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ([], "inputs: expected at least one step, got an empty sequence"),
        ([[1, 2, 3], [1, 2]], "x_2: expected 3 numbers, got 2"),
    ],
)
def test_sequences_that_do_not_fit_are_refused(inputs, message):
    with pytest.raises(ValueError, match=message):
        rnn.forward(cell_of(0), inputs)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([1, 3], "labels: expected 5, one for each step, got 2"),
        ([1, 3, 0, 4, 1], "labels: expected 0 to 3, got 4 at step 4"),
        ([1, 3, -1, 2, 1], "labels: expected 0 to 3, got -1 at step 3"),
    ],
)
def test_labels_that_do_not_fit_are_refused(labels, message):
    passed = rnn.forward(cell_of(0), INPUTS)
    with pytest.raises(ValueError, match=message):
        rnn.loss(passed, labels)
    with pytest.raises(ValueError, match=message):
        rnn.backward(cell_of(0), INPUTS, labels, passed)


def test_a_pass_over_other_inputs_and_a_chunk_of_nothing_are_refused():
    cell, passed = cell_of(0), rnn.forward(cell_of(0), INPUTS)
    with pytest.raises(ValueError, match="inputs: expected 5, one for each step of the pass, got 4"):
        rnn.backward(cell, INPUTS[:4], LABELS, passed)
    with pytest.raises(ValueError, match="chunk: expected at least 1 step, got 0"):
        rnn.backward(cell, INPUTS, LABELS, passed, chunk=0)

"""Dense layer, ReLU and losses in plain Python."""

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from concord.plain.dense import Dense, relu, relu_backward
from concord.plain.losses import (
    cross_entropy,
    cross_entropy_slope,
    log_softmax,
    softmax,
    squared_error,
    squared_error_slope,
)


def test_a_dense_layer_by_hand():
    dense = Dense(2, 3)
    dense.weights, dense.biases = [[1.0, 2.0], [0.0, -1.0], [3.0, 0.5]], [0.5, 0.0, -1.0]
    assert dense.forward([2.0, 4.0]) == [10.5, -4, 7]
    assert dense.backward([1.0, 0.0, -2.0]) == [1 - 6, 2 - 1]
    assert dense.weights_slope == [[2, 4], [0, 0], [-4, -8]]
    dense.descend(0.5)
    assert dense.weights == [[0, 0], [0, -1], [5, 4.5]]
    assert dense.biases == [0, 0, 0]


def test_every_gradient_of_dense_relu_and_cross_entropy_equals_torch():
    torch.manual_seed(0)
    w = torch.randn(4, 6, dtype=torch.float64, requires_grad=True)
    b = torch.randn(4, dtype=torch.float64, requires_grad=True)
    x = torch.randn(6, dtype=torch.float64, requires_grad=True)
    F.cross_entropy(F.linear(x, w, b).relu()[None], torch.tensor([2])).backward()
    dense = Dense(6, 4)
    dense.weights, dense.biases = w.tolist(), b.tolist()
    a = dense.forward(x.tolist())
    dx = dense.backward(relu_backward(a, cross_entropy_slope(relu(a), 2)))
    torch.testing.assert_close(
        torch.tensor(dense.weights_slope, dtype=torch.float64), w.grad, rtol=0, atol=1e-10
    )
    assert dense.biases_slope == pytest.approx(b.grad.tolist(), abs=1e-10)
    assert dx == pytest.approx(x.grad.tolist(), abs=1e-10)


def test_with_no_slope_at_all_the_gradients_are_zero():
    dense = Dense(3, 2)
    dense.forward([1.0, 2.0, 3.0])
    assert dense.backward([0.0, 0.0]) == [0, 0, 0]
    assert dense.weights_slope == [[0, 0, 0]] * 2


def test_cross_entropy_by_hand():
    z = [math.log(1.0), math.log(3.0), math.log(4.0)]
    assert softmax(z) == pytest.approx([1 / 8, 3 / 8, 1 / 2])
    assert cross_entropy(z, 1) == pytest.approx(-math.log(3 / 8))
    assert cross_entropy_slope(z, 1) == pytest.approx([1 / 8, -5 / 8, 1 / 2])


def test_squared_error_by_hand_is_half_of_the_squares():
    assert squared_error([1.0, 4.0], [3.0, 1.0]) == 6.5
    assert squared_error_slope([1.0, 4.0], [3.0, 1.0]) == [-2, 3]


@given(st.lists(st.floats(-1e300, 1e300), min_size=1, max_size=6))
def test_no_logit_makes_softmax_overflow(z):
    chances = softmax(z)
    assert all(0 <= p <= 1 for p in chances)
    assert math.isclose(sum(chances), 1)


@given(st.lists(st.floats(-30, 30), min_size=2, max_size=6), st.floats(-100, 100))
def test_softmax_does_not_see_a_constant(z, constant):
    assert log_softmax([v + constant for v in z]) == pytest.approx(log_softmax(z), abs=1e-10)
    expected = torch.tensor(z, dtype=torch.float64).log_softmax(0).tolist()
    assert log_softmax(z) == pytest.approx(expected, abs=1e-12)


def test_a_vector_of_another_length_is_refused():
    with pytest.raises(ValueError, match="the input of a dense layer: expected 3 numbers, got 2"):
        Dense(3, 1).forward([1.0, 2.0])

"""Dropout: the source's form and torch's, their expectations over every mask there is."""

from itertools import product
from random import Random

import pytest
import torch

from concord.plain import dropout
from concord.plain.vectors import times

X = [3.0, -1.0, 4.0, 0.5]
P = 0.7  # the probability to keep
W = [[1.0, -2.0, 0.5, 3.0], [0.25, 1.0, -1.0, 2.0]]  # the next layer


def expectation(of_mask):
    """sum over all masks of P(mask) * of_mask(mask), number by number."""
    total = [0.0] * len(of_mask([1.0] * len(X)))
    for mask in product([0.0, 1.0], repeat=len(X)):
        chance = P ** sum(mask) * (1 - P) ** (len(X) - sum(mask))
        total = [t + chance * y for t, y in zip(total, of_mask(mask), strict=True)]
    return total


def test_both_forms_by_hand():
    mask = [1.0, 0.0, 1.0, 0.0]
    assert dropout.forward(X, mask) == [3, 0, 4, 0]
    assert dropout.while_testing(X, 0.25) == [0.75, -0.25, 1, 0.125]
    assert dropout.inverted(X, mask, 0.25) == [12, 0, 16, 0]


def test_the_source_gives_while_testing_what_it_gives_on_average_while_training():
    assert expectation(lambda m: dropout.forward(X, m)) == pytest.approx(dropout.while_testing(X, P))


def test_torchs_form_gives_on_average_what_went_in():
    assert expectation(lambda m: dropout.inverted(X, m, P)) == pytest.approx(X)


def test_the_next_layer_expects_the_same_from_both_forms_when_its_weights_take_up_p():
    source = expectation(lambda m: times(W, dropout.forward(X, m)))
    scaled_weights = [[P * w for w in row] for row in W]
    inverted = expectation(lambda m: times(scaled_weights, dropout.inverted(X, m, P)))
    assert source == pytest.approx(inverted)
    assert source == pytest.approx(times(W, dropout.while_testing(X, P)))
    assert source == pytest.approx(times(scaled_weights, X))  # torch while testing


def test_torchs_form_is_torchs():
    x = torch.tensor(X * 500, dtype=torch.float64, requires_grad=True)
    torch.manual_seed(0)
    y = torch.nn.functional.dropout(x, p=1 - P)
    dy = torch.linspace(-1, 1, len(x), dtype=torch.float64)
    y.backward(dy)
    mask = (y != 0).double().tolist()  # the mask torch drew
    assert 0.65 < sum(mask) / len(mask) < 0.75
    assert dropout.inverted(x.tolist(), mask, P) == pytest.approx(y.tolist(), abs=1e-10)
    assert dropout.inverted_backward(dy.tolist(), mask, P) == pytest.approx(x.grad.tolist(), abs=1e-10)


def test_the_gradient_of_the_source_form_equals_autograd():
    mask, dy = [1.0, 0.0, 0.0, 1.0], [2.0, 3.0, -5.0, 7.0]
    x = torch.tensor(X, dtype=torch.float64, requires_grad=True)
    (x * torch.tensor(mask, dtype=torch.float64)).backward(torch.tensor(dy, dtype=torch.float64))
    assert dropout.backward(dy, mask) == x.grad.tolist() == [2, 0, 0, 7]


def test_masks_keep_with_probability_p_and_repeat_with_their_seed():
    mask = dropout.draw_mask(10_000, P, Random(1))
    assert set(mask) == {0, 1}
    assert sum(mask) / len(mask) == pytest.approx(P, abs=0.015)  # more than three standard deviations
    assert mask == dropout.draw_mask(10_000, P, Random(1))
    assert dropout.draw_mask(3, 1.0, Random(1)) == [1, 1, 1]


@pytest.mark.parametrize("p", [0.0, -0.1, 1.1, float("nan")])
def test_what_is_no_probability_to_keep_is_refused(p):
    with pytest.raises(ValueError, match="probability to keep a neuron, above 0 and at most 1, got"):
        dropout.draw_mask(3, p, Random(0))
    with pytest.raises(ValueError, match="probability to keep"):
        dropout.while_testing(X, p)
    with pytest.raises(ValueError, match="probability to keep"):
        dropout.inverted(X, [1.0] * 4, p)


def test_a_mask_of_another_length_is_refused():
    with pytest.raises(ValueError, match="two vectors of one length, got 3 and 4"):
        dropout.forward(X, [1.0, 0.0, 1.0])

"""Temperature scaling: by hand, by another optimiser, where there is no minimum, what is refused."""

from math import log

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar

from concord.errors import ShapeError
from concord.uncertainty.temperature import temperature


def nll(logits, labels, t):
    return torch.nn.functional.cross_entropy(logits.double() / t, labels).item()


def test_a_temperature_by_hand():
    # logits (2, 0) three times, twice label 0: softmax(2 / T, 0) is (2/3, 1/3) at 2 / T = ln 2
    logits, labels = torch.tensor([[2.0, 0.0]] * 3), torch.tensor([0, 1, 0])
    assert temperature(logits, labels) == pytest.approx(2 / log(2), rel=1e-11)


@settings(max_examples=25)
@given(seed=st.integers(0, 10**6), scale=st.floats(0.05, 20), classes=st.integers(2, 6))
def test_it_is_where_another_search_finds_the_least_likelihood(seed, scale, classes):
    generator = torch.Generator().manual_seed(seed)
    logits = scale * torch.randn(60, classes, generator=generator)
    labels = torch.where(
        torch.rand(60, generator=generator) < 0.7, logits.argmax(-1), torch.arange(60) % classes
    )
    found = temperature(logits, labels)
    if found is None:
        return
    other = minimize_scalar(lambda u: nll(logits, labels, torch.tensor(u).exp().item()), bounds=(-8, 8))
    assert nll(logits, labels, found) <= other.fun + 1e-9


def test_logits_that_are_three_times_too_large_have_three_times_the_temperature():
    generator = torch.Generator().manual_seed(1)
    logits = torch.randn(500, 4, generator=generator, dtype=torch.float64)
    labels = torch.multinomial(logits.softmax(-1), 1, generator=generator)[:, 0]
    assert temperature(3 * logits, labels) == pytest.approx(3 * temperature(logits, labels))
    assert temperature(3 * logits, labels) == pytest.approx(3, rel=0.2)  # those labels were drawn at T = 3


def test_a_constant_added_to_the_logits_of_a_sample_changes_nothing():
    logits = torch.tensor([[1.0, 0.0, 3.0], [0.5, 2.0, 0.0], [1.0, 0.0, 0.0], [0.0, 2.0, 1.0]])
    labels = torch.tensor([2, 1, 0, 2])
    moved = logits + torch.tensor([[5.0], [-70.0], [0.0], [300.0]])
    assert temperature(moved, labels) == pytest.approx(temperature(logits, labels))


def test_there_is_none_where_all_labels_are_the_likeliest_and_where_logits_are_guesses():
    assert temperature(torch.tensor([[1.0, 0.0], [0.0, 0.1]]), torch.tensor([0, 1])) is None
    assert (
        temperature(torch.tensor([[1.0, 0.0], [0.0, 1.0]]), torch.tensor([1, 1])) is None
    )  # slope 0 at b = 0
    assert temperature(torch.zeros(4, 3), torch.tensor([0, 1, 2, 0])) is None


@pytest.mark.parametrize(("logits", "labels"), [((3, 2), (4,)), ((3,), (3,)), ((0, 2), (0,))])
def test_other_shapes_are_refused(logits, labels):
    with pytest.raises(ShapeError, match=r"expected \(N, K\) and \(N,\)"):
        temperature(torch.zeros(logits), torch.zeros(labels, dtype=torch.int64))


@pytest.mark.parametrize("wrong", [float("nan"), float("inf"), float("-inf")])
def test_logits_that_are_not_finite_have_no_temperature(wrong):
    assert temperature(torch.tensor([[2.0, wrong], [0.0, 1.0]]), torch.tensor([0, 0])) is None

"""Scores of unfamiliar samples by hand, and how well they separate beside counts of pairs."""

from math import exp, log

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from concord.errors import ShapeError
from concord.uncertainty.familiar import (
    SCORES,
    max_logit,
    max_probability,
    negative_energy,
    negative_entropy,
    negative_mutual_information,
    separation,
)

Z = torch.tensor([[0.0, log(3)]], dtype=torch.float64)  # p = (1/4, 3/4)


def test_scores_by_hand():
    assert max_probability(Z).tolist() == pytest.approx([0.75])
    assert negative_entropy(Z).tolist() == pytest.approx([log(1 / 4) / 4 + 3 * log(3 / 4) / 4])
    assert negative_energy(Z).tolist() == pytest.approx([log(4)])
    assert max_logit(Z).tolist() == pytest.approx([log(3)])


def test_mutual_information_by_hand():
    # p = (1/4, 3/4), q = (2/3, 1/3), mean (11/24, 13/24)
    other = torch.tensor([[log(2), 0.0]], dtype=torch.float64)
    entropy = [-sum(p * log(p) for p in row) for row in ((1 / 4, 3 / 4), (2 / 3, 1 / 3), (11 / 24, 13 / 24))]
    expected = (entropy[0] + entropy[1]) / 2 - entropy[2]
    assert negative_mutual_information([Z, other]).tolist() == pytest.approx([expected])
    assert expected < -0.08
    assert negative_mutual_information([Z, Z + 5]).tolist() == pytest.approx([0], abs=1e-15)


def test_a_constant_added_to_all_logits_moves_energy_and_max_logit_alone():
    for name, score in SCORES.items():
        moved = (score(Z + 2) - score(Z)).item()
        assert moved == pytest.approx(2 if name in ("energy", "max_logit") else 0)


def test_a_probability_of_zero_has_no_part_in_the_entropy():
    sure = torch.tensor([[0.0, -2000.0]], dtype=torch.float64)
    assert negative_entropy(sure).tolist() == [0]
    assert negative_mutual_information([sure, sure]).tolist() == [0]


@given(
    st.lists(st.integers(0, 12), min_size=1, max_size=25),
    st.lists(st.integers(0, 12), min_size=1, max_size=25),
)
def test_figures_are_those_of_counted_pairs_and_thresholds(familiar, other):
    a, b = np.array(familiar), np.array(other)
    found = separation(torch.tensor(familiar).double(), torch.tensor(other).double())
    pairs = (a[:, None] > b).mean() + (a[:, None] == b).mean() / 2
    assert found.auroc == pytest.approx(pairs)
    passing = [(b >= limit).mean() for limit in a if (a >= limit).mean() >= 0.95]
    assert found.fpr95 == pytest.approx(min(passing))
    limits, recall, precision = sorted(set(familiar + other), reverse=True), 0.0, 0.0
    for limit in limits:
        now = (a >= limit).mean()
        precision += (now - recall) * (a >= limit).sum() / ((a >= limit).sum() + (b >= limit).sum())
        recall = now
    assert found.aupr == pytest.approx(precision)


def test_separation_by_hand():
    found = separation(torch.tensor([3.0, 1.0]), torch.tensor([2.0, 0.0, 0.0]))
    assert found.auroc == pytest.approx(5 / 6)
    assert found.fpr95 == pytest.approx(1 / 3)  # both familiar samples pass from 1 on, and 2.0 with them
    assert found.aupr == pytest.approx(1 / 2 + 1 / 2 * 2 / 3)


def test_an_exponential_of_the_energy_is_the_sum_of_exponentials():
    assert exp(negative_energy(Z).item()) == pytest.approx(1 + 3)


def test_no_samples_are_refused():
    with pytest.raises(ShapeError, match=r"\(0,\)"):
        separation(torch.ones(2), torch.ones(0))

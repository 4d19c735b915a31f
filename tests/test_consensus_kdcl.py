"""Targets that all members learn from: KDCL's four."""

from math import log

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from concord.consensus.costs import kl
from concord.consensus.edges import shape, table
from concord.consensus.kdcl import (
    TARGETS,
    blend,
    convex_weights,
    error_covariance,
    general,
    linear,
    min_logit,
    naive,
    towards,
    variance_weights,
)
from concord.errors import ShapeError, UsageError

# Two members, two samples, three classes; the labels are 0 and 2
LOGITS = torch.tensor([[[1.0, 0.0, 2.0], [0.0, 1.0, 5.0]], [[3.0, 2.5, -1.0], [4.0, 0.0, 3.0]]])
LABELS = torch.tensor([0, 2])
EVERY = {**TARGETS, "kdcl_general": general([0.3, 0.7])}


def drawn(m, seed, rows=6, classes=3):
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(classes, (rows,), generator=generator)
    noise = torch.randn(m, rows, classes, dtype=torch.float64, generator=generator)
    return 2 * noise + 2 * F.one_hot(labels, classes), labels


def simplex(m, steps):
    if m == 2:
        return [(i / steps, 1 - i / steps) for i in range(steps + 1)]
    return [
        (i / steps, j / steps, 1 - (i + j) / steps) for i in range(steps + 1) for j in range(steps + 1 - i)
    ]


def test_naive_takes_each_sample_from_the_member_that_fits_it_best():
    # sample 0: ln(1 + e^-1 + e^1) = 1.41 against ln(1 + e^-0.5 + e^-4) = 0.49; sample 1: 0.02 against 1.33
    assert naive(LOGITS, LABELS).tolist() == [[3.0, 2.5, -1.0], [0.0, 1.0, 5.0]]


@pytest.mark.parametrize("name", EVERY)
def test_of_labels_that_are_probabilities_the_likeliest_counts(name):
    """(0.6, 0.1, 0.3) and (0.2, 0.3, 0.5) name the classes 0 and 2, as LABELS do."""
    mixed = torch.tensor([[0.6, 0.1, 0.3], [0.2, 0.3, 0.5]])
    cost, edges = towards(EVERY[name]), shape("all", 2)
    torch.testing.assert_close(cost(list(LOGITS), mixed, edges), cost(list(LOGITS), LABELS, edges))


def test_min_logit_is_the_lowest_margin_over_the_label():
    # sample 0: (0, -1, 1) and (0, -0.5, -4); sample 1: (-5, -4, 0) and (1, -3, 0)
    assert min_logit(LOGITS, LABELS).tolist() == [[0, -1, -4], [-5, -4, 0]]


def test_a_blend_is_the_weighted_sum_of_logits():
    target = blend(LOGITS, torch.tensor([0.25, 0.75]))
    assert target[0].tolist() == pytest.approx([2.5, 1.875, -0.25])
    assert torch.equal(general([0.25, 0.75])(LOGITS, LABELS), target)


@pytest.mark.parametrize(("m", "steps"), [(2, 400), (3, 60)])
@pytest.mark.parametrize("seed", range(4))
def test_linear_beats_every_point_of_a_grid_over_the_simplex(m, steps, seed):
    logits, labels = drawn(m, seed)
    weights = convex_weights(logits, labels)
    assert weights.min() >= 0
    assert weights.sum().item() == pytest.approx(1)
    mine = F.cross_entropy(linear(logits, labels), labels).item()
    costs = {
        w: F.cross_entropy(blend(logits, torch.tensor(w).double()), labels).item() for w in simplex(m, steps)
    }
    best = min(costs, key=costs.get)
    assert mine <= costs[best] + 1e-9
    assert weights.tolist() == pytest.approx(best, abs=1.5 / steps)


def test_linear_can_leave_a_member_out():
    logits = torch.stack([4.0 * F.one_hot(LABELS, 3), -4.0 * F.one_hot(LABELS, 3)])
    assert convex_weights(logits, LABELS).tolist() == pytest.approx([1, 0], abs=1e-6)


def test_linear_works_where_gradients_are_switched_off():
    with torch.no_grad():
        assert convex_weights(LOGITS, LABELS).sum().item() == pytest.approx(1)


def test_error_covariance_by_hand():
    # p = (1/4, 3/4), q = (2/3, 1/3), label 1: errors (1/4, -1/4) and (2/3, -2/3)
    logits = torch.tensor([[[0.0, log(3)]], [[log(2), 0.0]]])
    found = error_covariance(logits, torch.tensor([1]))
    assert found.flatten().tolist() == pytest.approx([2 / 16, 2 / 6, 2 / 6, 8 / 9])


def test_error_covariance_is_a_mean_over_samples():
    logits, labels = drawn(3, 0)
    parts = [error_covariance(logits[:, n : n + 1], labels[n : n + 1]) for n in range(len(labels))]
    torch.testing.assert_close(error_covariance(logits, labels), torch.stack(parts).mean(0))


def test_variance_weights_by_hand():
    # R = ((2, 1), (1, 4)): R^-1 1 = (3, 1) / 7
    weights = variance_weights(torch.tensor([[2.0, 1.0], [1.0, 4.0]], dtype=torch.float64))
    assert weights == pytest.approx([3 / 4, 1 / 4], abs=1e-5)


@given(seed=st.integers(0, 10**6), m=st.integers(1, 4))
@settings(max_examples=40, deadline=None)
def test_variance_weights_sum_to_one_and_no_others_vary_less(seed, m):
    generator = torch.Generator().manual_seed(seed)
    root = torch.randn(m, m, dtype=torch.float64, generator=generator)
    covariance = root @ root.T + 0.1 * torch.eye(m, dtype=torch.float64)
    w = torch.tensor(variance_weights(covariance), dtype=torch.float64)
    assert w.sum().item() == pytest.approx(1)
    step = torch.randn(m, dtype=torch.float64, generator=generator)
    other = w + step - step.mean()
    assert w @ covariance @ w <= (other @ covariance @ other) * (1 + 1e-5)


def test_members_that_always_agree_share_the_weight():
    assert variance_weights(torch.full((2, 2), 0.3, dtype=torch.float64)) == pytest.approx([0.5, 0.5])


@pytest.mark.parametrize("name", EVERY)
def test_every_member_learns_from_the_target_with_its_incoming_weight(name):
    edges = table([[0, 2], [0.5, 0]])
    goal = EVERY[name](LOGITS, LABELS)
    cost = towards(EVERY[name], 3.0)(list(LOGITS), LABELS, edges)
    torch.testing.assert_close(cost, 2 * kl(LOGITS[0], goal, 3.0) + 0.5 * kl(LOGITS[1], goal, 3.0))


@pytest.mark.parametrize("name", EVERY)
def test_only_the_learning_member_receives_gradient(name):
    logits = [x.clone().requires_grad_() for x in LOGITS]
    towards(EVERY[name])(logits, LABELS, table([[0, 1], [0, 0]], detach=False)).sum().backward()
    goal = EVERY[name](LOGITS, LABELS)
    torch.testing.assert_close(logits[0].grad, 2 * ((LOGITS[0] / 2).softmax(-1) - (goal / 2).softmax(-1)))
    assert logits[1].grad is None


@pytest.mark.parametrize("name", EVERY)
def test_targets_without_labels_are_refused(name):
    with pytest.raises(UsageError, match="unlabelled batches need another cost"):
        towards(EVERY[name])(list(LOGITS), None, shape("chain", 2))


def test_predictions_of_different_shapes_are_refused():
    with pytest.raises(ShapeError, match=r"\(2, 3\).*\(1, 3\)"):
        towards(naive)([torch.zeros(2, 3), torch.zeros(1, 3)], LABELS, shape("chain", 2))


def test_a_member_that_learns_from_nobody_adds_nothing_not_even_a_nan():
    logits = [torch.tensor([[1.0, 2.0]]), torch.tensor([[float("inf"), 0.0]])]
    cost = towards(min_logit)(logits, torch.tensor([1]), table([[0, 1], [0, 0]]))
    assert cost.isfinite().all()

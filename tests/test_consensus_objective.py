"""From predictions of all members to one consensus cost per sample."""

from dataclasses import replace
from math import log

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from concord.consensus.costs import COSTS, l2, sce
from concord.consensus.edges import shape, table
from concord.consensus.objective import (
    ensemble_log_probabilities,
    ensemble_logits,
    pairwise,
    per_edge,
)
from concord.errors import ShapeError


def column(*values):
    """One sample, one class: logits that are single numbers."""
    return [torch.tensor([[v]], requires_grad=True) for v in values]


def gradients(cost, logits):
    found = torch.autograd.grad(cost.sum(), logits, allow_unused=True, materialize_grads=True)
    return [g.item() for g in found]


def test_terms_are_weighted_and_summed_over_edges():
    logits = column(1.0, 4.0, 9.0)
    edges = table([[0, 2, 0], [0, 0, 3], [0.5, 0, 0]])
    cost = pairwise(l2)(logits, None, edges)
    assert cost.tolist() == [2 * 9 + 3 * 25 + 0.5 * 64]
    assert per_edge(cost, edges).item() == pytest.approx((18 + 75 + 32) / 5.5)


def test_nothing_is_averaged_over_samples():
    a, b = torch.tensor([[1.0, 0.0], [2.0, 2.0]]), torch.tensor([[0.0, 0.0], [2.0, -1.0]])
    assert pairwise(l2)([a, b], None, shape("chain", 2)).tolist() == [2, 18]


def test_a_detached_edge_moves_only_the_learner():
    logits = column(1.0, 4.0)
    one_way = pairwise(l2)(logits, None, table([[0, 1], [0, 0]]))
    assert gradients(one_way, logits) == [-6, 0]


def test_an_edge_without_detach_moves_both_sides():
    logits = column(1.0, 4.0)
    one_way = pairwise(l2)(logits, None, table([[0, 1], [0, 0]], detach=False))
    assert gradients(one_way, logits) == [-6, 6]


def test_gradients_are_stopped_for_each_edge_by_its_own_entry():
    logits = column(1.0, 4.0)
    edges = table([[0, 1], [10, 0]], detach=[[True, False], [True, True]])
    assert gradients(pairwise(l2)(logits, None, edges), logits) == [-6, 6 + 60]


def test_a_blend_meets_the_mean_of_the_others_once():
    logits = column(1.0, 4.0, 9.0)
    cost = pairwise(l2)(logits, None, shape("mean", 3))
    assert cost.item() == pytest.approx((1 - 6.5) ** 2 + (4 - 5) ** 2 + (9 - 2.5) ** 2)
    assert gradients(cost, logits) == pytest.approx([2 * (1 - 6.5), 2 * (4 - 5), 2 * (9 - 2.5)])


def test_a_blend_has_the_total_weight_and_the_proportions_of_its_edges():
    edges = replace(table([[0, 3, 1], [0, 0, 0], [0, 0, 0]]), blend=True)
    cost = pairwise(l2)(column(1.0, 4.0, 9.0), None, edges)
    assert cost.item() == pytest.approx(4 * (1 - (3 * 4 + 9) / 4) ** 2)


def test_a_blend_without_detach_moves_its_peers_by_their_share():
    logits = column(1.0, 4.0, 9.0)
    cost = pairwise(l2)(logits, None, shape("mean", 3, detach=False).into([0]))
    assert gradients(cost, logits) == pytest.approx([-11, 5.5, 5.5])


def test_an_edge_of_weight_zero_lets_nothing_through():
    a, b = torch.zeros(2, 3), torch.full((2, 3), float("inf"))
    edges = table([[0, 0], [0, 0]])
    assert pairwise(l2)([a, b], None, edges).tolist() == [0, 0]
    assert per_edge(torch.zeros(2), edges).tolist() == [0, 0]


@pytest.mark.parametrize("name", COSTS)
@pytest.mark.parametrize("shapes", [[(3, 4), (1, 4)], [(3, 4), (3, 5)], [(3,), (3,)], [(2, 3, 4)] * 2])
def test_predictions_of_different_or_other_shapes_are_refused(name, shapes):
    with pytest.raises(ShapeError, match=r"one shape \(B, K\), got \[\("):
        pairwise(COSTS[name])([torch.zeros(s) for s in shapes], None, shape("chain", 2))


def test_edges_for_another_number_of_members_are_refused():
    with pytest.raises(ShapeError, match="the edges are for 3 members, got logits of 2"):
        pairwise(sce)([torch.zeros(2, 3)] * 2, None, shape("chain", 3))


@given(seed=st.integers(0, 10**6), order=st.permutations(range(4)))
@settings(max_examples=30, deadline=None)
def test_permuting_members_and_edges_permutes_gradients_bit_for_bit(seed, order):
    generator = torch.Generator().manual_seed(seed)
    values = torch.randn(4, 3, 5, generator=generator)
    weights = torch.rand(4, 4, generator=generator).fill_diagonal_(0)

    def slopes(at, order_of_terms):
        logits = [values[i].clone().requires_grad_() for i in at]
        edges = table([[weights[i, j].item() for j in at] for i in at], detach=False)
        edges = replace(edges, order=order_of_terms)
        return torch.autograd.grad(pairwise(sce)(logits, None, edges).mean(), logits)

    straight = slopes(range(4), (0, 1, 2, 3))
    permuted = slopes(order, tuple(order.index(i) for i in range(4)))
    assert all(torch.equal(permuted[n], straight[i]) for n, i in enumerate(order))


def test_both_ensembles_by_hand():
    # p = (1/4, 3/4) and q = (2/3, 1/3); the mean of logits gives odds sqrt(1/3 * 2)
    logits = [torch.tensor([[0.0, log(3)]]), torch.tensor([[log(2), 0.0]])]
    odds = (2 / 3) ** 0.5
    by_logits = ensemble_logits(logits).softmax(-1)
    assert by_logits[0].tolist() == pytest.approx([odds / (1 + odds), 1 / (1 + odds)])
    by_probabilities = ensemble_log_probabilities(logits).exp()
    assert by_probabilities[0].tolist() == pytest.approx([(1 / 4 + 2 / 3) / 2, (3 / 4 + 1 / 3) / 2])

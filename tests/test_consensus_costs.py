"""Costs between two members: values by hand, and the gradients of collaboration.md, section 1.1."""

from functools import partial
from math import log

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from concord.consensus.costs import COSTS, kl, l1, l2, pair_cost, sce, sce_tf1
from concord.consensus.edges import shape
from concord.consensus.objective import pairwise
from concord.errors import UsageError

# softmax gives p = (1/4, 3/4) and q = (2/3, 1/3)
P, Q = torch.tensor([[0.0, log(3)]]), torch.tensor([[log(2), 0.0]])
SMOOTH = {"sce": sce, "kl": kl, "kl at T = 3": partial(kl, temperature=3.0), "l2": l2, "l1": l1}


def pair(seed=0, rows=4, classes=5):
    generator = torch.Generator().manual_seed(seed)
    a, b = 2 * torch.randn(2, rows, classes, dtype=torch.float64, generator=generator)
    return a.requires_grad_(), b.requires_grad_()


def slopes(cost, a, b):
    return torch.autograd.grad(cost(a, b).sum(), (a, b), allow_unused=True, materialize_grads=True)


@pytest.mark.parametrize("cost", [sce, sce_tf1])
def test_symmetric_cross_entropy_by_hand(cost):
    # -sum p ln q = ln(3/2)/4 + 3 ln(3)/4, -sum q ln p = 2 ln(4)/3 + ln(4/3)/3
    expected = log(3 / 2) / 4 + 3 * log(3) / 4 + 2 * log(4) / 3 + log(4 / 3) / 3
    assert cost(P, Q).tolist() == pytest.approx([expected])


def test_divergence_by_hand_has_the_peer_as_its_target():
    expected = 2 / 3 * log(2 / 3 / (1 / 4)) + 1 / 3 * log(1 / 3 / (3 / 4))  # sum q ln(q / p)
    assert kl(P, Q).tolist() == pytest.approx([expected])
    assert kl(2 * P, 2 * Q, 2.0).tolist() == pytest.approx([4 * expected])


def test_distances_by_hand():
    a, b = torch.tensor([[1.0, 2.0]]), torch.tensor([[4.0, 0.0]])
    assert l2(a, b).tolist() == [13]  # 9 + 4
    assert l1(a, b).tolist() == [5]  # 3 + 2


@pytest.mark.parametrize("cost", [sce, sce_tf1, l2, l1])
def test_a_cost_of_differences_is_symmetric(cost):
    a, b = pair()
    torch.testing.assert_close(cost(a, b), cost(b, a))


@given(seed=st.integers(0, 10**6), classes=st.integers(2, 9))
@settings(max_examples=25, deadline=None)
def test_values_where_both_predict_the_same(seed, classes):
    a, _ = pair(seed, classes=classes)
    entropy = torch.distributions.Categorical(logits=a).entropy()
    torch.testing.assert_close(sce(a, a), 2 * entropy)
    for cost in (kl, l2, l1):
        torch.testing.assert_close(cost(a, a), torch.zeros(4, dtype=torch.float64))


@given(seed=st.integers(0, 10**6), shift=st.floats(-50, 50))
@settings(max_examples=25, deadline=None)
def test_costs_of_probabilities_ignore_a_constant_on_all_logits(seed, shift):
    a, b = pair(seed)
    for cost in (sce, sce_tf1, kl):
        torch.testing.assert_close(cost(a + shift, b), cost(a, b))
        assert (cost(a, b) >= 0).all()


@pytest.mark.parametrize("name", SMOOTH)
def test_gradients_match_finite_differences(name):
    assert torch.autograd.gradcheck(SMOOTH[name], pair())


def test_gradient_of_the_symmetric_cross_entropy_is_the_exact_one():
    a, b = pair()
    for mine, one, other in zip(slopes(sce, a, b), (a, b), (b, a), strict=True):
        p, q = one.softmax(-1), other.softmax(-1)
        inner = (p * q.log()).sum(-1, keepdim=True)
        torch.testing.assert_close(mine, p - q - p * (q.log() - inner))


def test_gradient_with_constant_targets_is_the_difference_of_probabilities():
    a, b = pair()
    mine, peer = slopes(sce_tf1, a, b)
    torch.testing.assert_close(mine, a.softmax(-1) - b.softmax(-1))
    torch.testing.assert_close(peer, -mine)


def test_gradient_with_constant_targets_is_that_of_mutual_learning():
    a, b = pair()
    (mine, _), (theirs, _) = slopes(sce_tf1, a, b), slopes(kl, a, b.detach().requires_grad_())
    torch.testing.assert_close(mine, theirs)
    torch_kl = torch.nn.KLDivLoss(reduction="batchmean")(a.log_softmax(-1), b.softmax(-1).detach())
    (reference,) = torch.autograd.grad(torch_kl, a)
    torch.testing.assert_close(mine / len(a), reference)


def test_gradient_of_the_divergence_grows_with_temperature():
    a, b = pair()
    mine, _ = slopes(partial(kl, temperature=3.0), a, b)
    torch.testing.assert_close(mine, 3 * ((a / 3).softmax(-1) - (b / 3).softmax(-1)))


def test_gradients_of_distances():
    a, b = pair()
    for cost, expected in ((l2, 2 * (a - b)), (l1, (a - b).sign())):
        mine, peer = slopes(cost, a, b)
        torch.testing.assert_close(mine, expected)
        torch.testing.assert_close(peer, -expected)


@pytest.mark.parametrize("cost", [sce, l2, l1])
def test_two_detached_edges_give_the_gradients_of_one_undirected_pair(cost):
    a, b = pair()
    directed = torch.autograd.grad(pairwise(cost)([a, b], None, shape("chain", 2)).mean(), (a, b))
    undirected = torch.autograd.grad(cost(a, b).mean(), (a, b))
    torch.testing.assert_close(directed, undirected)


def test_extreme_logits_keep_costs_and_gradients_finite():
    a = torch.tensor([[1e4, -1e4, 0.0]], requires_grad=True)
    b = torch.tensor([[-1e4, 1e4, 0.0]], requires_grad=True)
    for cost in COSTS.values():
        assert cost(a, b).isfinite().all()
        assert all(slope.isfinite().all() for slope in slopes(cost, a, b))


def test_a_temperature_reaches_the_divergence():
    a, b = pair()
    torch.testing.assert_close(pair_cost("kl", 3.0)(a, b), kl(a, b, 3.0))


@pytest.mark.parametrize(
    ("name", "temperature", "message"),
    [
        ("sec", 1.0, r"no cost 'sec' \(did you mean 'sce'\?\); there are: sce, sce_tf1, kl, l2, l1"),
        ("l2", 2.0, r"temperature \(here 2\) belongs to kl, not to l2"),
        ("kl", 0.0, r"positive and finite, got 0"),
        ("kl", float("nan"), r"positive and finite, got nan"),
    ],
)
def test_unknown_costs_and_impossible_temperatures_are_refused(name, temperature, message):
    with pytest.raises(UsageError, match=message):
        pair_cost(name, temperature)

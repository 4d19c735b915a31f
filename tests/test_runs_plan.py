"""From the configuration to the consensus, edges and weight of an epoch."""

from functools import partial
from math import exp, sqrt

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from concord.consensus.costs import COSTS, kl
from concord.consensus.edges import matched, random_matching, shape
from concord.consensus.kdcl import TARGETS, general, towards, variance_weights
from concord.consensus.objective import pairwise
from concord.runs.config import Config, Member
from concord.runs.config_consensus import Consensus
from concord.runs.plan import consensus_of, edges_of, pointless, uneven, weight_of
from concord.runs.ramps import Cosine, Piecewise, Ramp

LABELS = torch.tensor([0, 2, 1])
SEEN = {
    "error_covariance": [[2.0, 1.0], [1.0, 4.0]],
    "disagreement": [[0, 0.1, 0.9, 0.2], [0.1, 0, 0.3, 0.8], [0.9, 0.3, 0, 0.1], [0.2, 0.8, 0.1, 0]],
}


def predictions(members=2):
    return list(torch.randn(members, 3, 3, generator=torch.Generator().manual_seed(0)))


def config(members=4, seed=0, **consensus):
    made = [Member(name=f"m{i}", network="noel2017_st") for i in range(members)]
    return Config(
        members=made, consensus=Consensus(**{"cost": "l2", "weight": 1.0} | consensus), train={"seed": seed}
    )


def given_by(settings, seen=None):
    return consensus_of(settings, 2, seen)(predictions(), LABELS, shape("chain", 2))


@pytest.mark.parametrize("name", COSTS)
def test_a_cost_of_pairs_is_the_one_named(name):
    expected = pairwise(COSTS[name])(predictions(), LABELS, shape("chain", 2))
    torch.testing.assert_close(given_by(Consensus(cost=name, weight=1.0)), expected)


@pytest.mark.parametrize("name", TARGETS)
@pytest.mark.parametrize(("temperature", "used"), [(None, 2.0), (3.0, 3.0), (1.0, 1.0)])
def test_a_target_is_the_one_named_at_temperature_two_unless_another_is_given(name, temperature, used):
    expected = towards(TARGETS[name], used)(predictions(), LABELS, shape("chain", 2))
    torch.testing.assert_close(given_by(Consensus(cost=name, weight=1.0, temperature=temperature)), expected)


def test_the_divergence_has_temperature_one_unless_another_is_given():
    hot = pairwise(partial(kl, temperature=3.0))(predictions(), LABELS, shape("chain", 2))
    torch.testing.assert_close(given_by(Consensus(cost="kl", weight=1.0, temperature=3.0)), hot)


@pytest.mark.parametrize("cost", [*TARGETS, "kdcl_general"])
@pytest.mark.parametrize("name", ["chain", "all", "ring", "star", "mean"])
def test_a_kdcl_target_weighs_alike_for_every_learner_of_a_named_shape(cost, name):
    made = [Member(name=f"m{i}", network="noel2017_st") for i in range(3)]
    found = edges_of(Config(members=made, consensus=Consensus(cost=cost, weight=1.0, edges=name)), 0, None)
    assert [found.mass(i) for i in range(3)] == pytest.approx([1, 1, 1])
    one_way = edges_of(
        Config(members=made, consensus=Consensus(cost=cost, weight=1.0, edges="one_way")), 0, None
    )
    assert [one_way.mass(i) for i in range(3)] == [1, 1, 0]  # the last one learns from labels only
    table = [[0, 2, 0], [0.5, 0, 0], [0, 0, 0]]
    own = edges_of(Config(members=made, consensus=Consensus(cost=cost, weight=1.0, edges=table)), 0, None)
    assert [own.mass(i) for i in range(3)] == [2, 0.5, 0]


@pytest.mark.parametrize(
    ("name", "members", "expected"),
    [
        ("chain", 3, True),
        ("star", 3, True),
        ("all", 3, True),
        ("chain", 2, False),
        ("one_way", 3, False),
        ("mean", 3, False),
    ],
)
def test_a_shape_is_uneven_for_kdcl_if_a_member_has_not_one_edge(name, members, expected):
    made = [Member(name=f"m{i}", network="noel2017_st") for i in range(members)]
    assert (
        uneven(Config(members=made, consensus=Consensus(cost="kdcl_naive", weight=1.0, edges=name)))
        is expected
    )
    assert not uneven(Config(members=made, consensus=Consensus(cost="l2", weight=1.0, edges=name)))


@pytest.mark.parametrize("seen", [None, {}, {"error_covariance": None}])
def test_kdcl_general_starts_with_equal_weights(seen):
    expected = towards(general([0.5, 0.5]))(predictions(), LABELS, shape("chain", 2))
    torch.testing.assert_close(given_by(Consensus(cost="kdcl_general", weight=1.0), seen), expected)


def test_kdcl_general_goes_on_with_the_weights_of_least_variance():
    weights = variance_weights(torch.tensor(SEEN["error_covariance"], dtype=torch.float64))
    expected = towards(general(weights), 1.5)(predictions(), LABELS, shape("chain", 2))
    torch.testing.assert_close(
        given_by(Consensus(cost="kdcl_general", weight=1.0, temperature=1.5), SEEN), expected
    )


@pytest.mark.parametrize("name", ["chain", "all", "ring", "star", "one_way", "mean"])
def test_named_edges_are_the_same_in_every_epoch(name):
    assert edges_of(config(edges=name), 0, None) == edges_of(config(edges=name), 9, SEEN) == shape(name, 4)


def test_a_table_of_edges_and_gradients_is_taken_as_it_is_and_scaled():
    edges = edges_of(
        config(2, edges=[[0.0, 4.0], [1.0, 0.0]], scale="mass1", detach=[[True, False]] * 2), 0, None
    )
    assert edges.weight == ((0, 1), (1, 0))
    assert edges.detach == ((True, False),) * 2


def test_the_scale_knows_the_cost():
    assert edges_of(config(edges="all", scale="noel"), 0, None).weight[0][1] == 1 / 6
    whole = config(edges="all", scale="noel")
    sce = whole.model_copy(update={"consensus": whole.consensus.model_copy(update={"cost": "sce"})})
    assert edges_of(sce, 0, None).weight[0][1] == 1


def test_random_matching_depends_on_seed_and_epoch():
    drawn = [edges_of(config(edges="random_matching", seed=5), epoch, SEEN).weight for epoch in range(8)]
    assert drawn == [random_matching(4, 5, epoch) for epoch in range(8)]
    assert len(set(drawn)) > 1


def test_disagreement_matching_pairs_those_who_differ_most():
    edges = edges_of(config(edges="disagreement_matching"), 3, SEEN)
    assert edges.weight == matched(4, [(0, 2), (1, 3)])


@pytest.mark.parametrize("seen", [None, {}, {"disagreement": None}])
def test_disagreement_matching_starts_at_random(seen):
    edges = edges_of(config(edges="disagreement_matching", seed=5), 2, seen)
    assert edges.weight == random_matching(4, 5, 2)


@pytest.mark.parametrize(
    ("ramp", "expected"),
    [
        (None, [2, 2, 2, 2, 2]),
        (Ramp(kind="linear", until=0.5), [0, 1, 2, 2, 2]),
        (Ramp(kind="sigmoid", until=1.0), [2 * exp(-5 * rest**2) for rest in (1, 0.75, 0.5, 0.25, 0)]),
        (Ramp(kind="burn_in", until=0.75), [0, 0, 0, 2, 2]),
        (Cosine(kind="cosine", start=1.0, end=0.5), [2, 1.5 + sqrt(1 / 8), 1.5, 1.5 - sqrt(1 / 8), 1]),
        (Piecewise(kind="piecewise", points=[(0.0, 0.5), (0.5, 3.0)]), [1, 1, 6, 6, 6]),
    ],
    ids=str,
)
def test_the_weight_follows_its_schedule_from_the_first_update_to_the_last(ramp, expected):
    consensus = Consensus(cost="l2", weight=2.0, **({"schedule": ramp} if ramp else {}))
    weight = weight_of(consensus, 5)
    assert [weight(index) for index in range(5)] == pytest.approx(expected)


@given(updates=st.integers(1, 1000))
@settings(deadline=None)
def test_without_a_cost_there_is_no_weight(updates):
    assert weight_of(Consensus(), updates)(updates - 1) == 0
    assert weight_of(Consensus(cost="sce", weight=1.0), updates)(0) == 1


@pytest.mark.parametrize("ramp", [Ramp(kind="linear", until=1.0), Ramp(kind="burn_in", until=0.5)])
def test_the_only_update_of_a_training_has_the_weight_of_the_last(ramp):
    assert weight_of(Consensus(cost="l2", weight=2.0, schedule=ramp), 1)(0) == 2.0


@pytest.mark.parametrize(
    ("members", "cost", "weight", "words"),
    [
        (1, "l2", 1.0, "one member, which has nobody to agree with"),
        (2, "l2", 0.0, "weight 0: this is the plain ensemble"),
        (2, "l2", 1.0, None),
        (1, "none", 0.0, None),
    ],
)
def test_a_consensus_without_effect_is_pointed_out(members, cost, weight, words):
    found = pointless(config(members, cost=cost, weight=weight))
    assert [words in text for text in found] == ([True] if words else [])

"""Who learns from whom: shapes, scales and matchings."""

from dataclasses import replace
from itertools import permutations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from concord.consensus.edges import (
    SHAPES,
    disagreement_matching,
    matched,
    random_matching,
    scaled,
    shape,
    table,
)
from concord.errors import UsageError

WRITTEN_OUT = {
    "chain": [[0, 1, 0, 0], [1, 0, 1, 0], [0, 1, 0, 1], [0, 0, 1, 0]],
    "all": [[0, 1, 1, 1], [1, 0, 1, 1], [1, 1, 0, 1], [1, 1, 1, 0]],
    "ring": [[0, 1, 0, 1], [1, 0, 1, 0], [0, 1, 0, 1], [1, 0, 1, 0]],
    "star": [[0, 1, 1, 1], [1, 0, 0, 0], [1, 0, 0, 0], [1, 0, 0, 0]],
    "one_way": [[0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1], [0, 0, 0, 0]],
    "mean": [[0, 1 / 3, 1 / 3, 1 / 3], [1 / 3, 0, 1 / 3, 1 / 3], [1 / 3, 1 / 3, 0, 1 / 3], [1 / 3] * 3 + [0]],
}


def rows(edges):
    return [list(row) for row in edges.weight]


@pytest.mark.parametrize("name", SHAPES)
def test_every_shape_is_the_table_written_out_for_four_members(name):
    edges = shape(name, 4)
    assert rows(edges) == WRITTEN_OUT[name]
    assert edges.blend == (name == "mean")
    assert edges.detach == ((True,) * 4,) * 4


@pytest.mark.parametrize("name", SHAPES)
def test_a_single_member_has_no_edges(name):
    assert rows(shape(name, 1)) == [[0]]


@pytest.mark.parametrize("name", sorted(SHAPES.keys() - {"one_way"}))
def test_two_members_learn_from_each_other_in_every_two_way_shape(name):
    assert rows(shape(name, 2)) == [[0, 1], [1, 0]]


def test_a_pair_is_counted_once_whatever_its_directions():
    edges = table([[0, 2, 0.5], [1, 0, 0], [0, 0, 0]])
    assert edges.pairs() == {frozenset({0, 1}), frozenset({0, 2})}
    assert [edges.mass(i) for i in range(3)] == [2.5, 1, 0]


def test_edges_into_some_members_leave_the_rows_of_the_others_empty():
    edges = shape("ring", 4).into([1, 2])
    assert rows(edges) == [[0] * 4, [1, 0, 1, 0], [0, 1, 0, 1], [0] * 4]
    assert shape("mean", 3).into([0]).blend


@given(
    st.integers(1, 5).flatmap(
        lambda m: st.lists(st.lists(st.floats(0, 9), min_size=m, max_size=m), min_size=m, max_size=m)
    )
)
@settings(deadline=None)
def test_mass_one_lets_every_member_with_a_peer_learn_with_total_weight_one(weights):
    for i, row in enumerate(weights):
        row[i] = 0.0
    edges = scaled(table(weights), "mass1", "l2")
    for i, row in enumerate(weights):
        assert edges.mass(i) == pytest.approx(float(sum(row) > 0))
        assert all((w > 0) >= (v > 0) for w, v in zip(row, edges.weight[i], strict=True))


def test_mass_one_keeps_the_proportions():
    assert rows(scaled(table([[0, 3, 1], [0, 0, 2], [0, 0, 0]]), "mass1", "sce")) == [
        [0, 0.75, 0.25],
        [0, 0, 1],
        [0, 0, 0],
    ]


@pytest.mark.parametrize("cost", ["l2", "l1"])
@pytest.mark.parametrize(("name", "pairs"), [("chain", 3), ("all", 6), ("one_way", 3), ("ring", 4)])
def test_the_scale_of_source_004_averages_distances_over_pairs(cost, name, pairs):
    whole = shape(name, 4)
    assert rows(scaled(whole, "noel", cost)) == [[w / pairs for w in row] for row in whole.weight]


@pytest.mark.parametrize("cost", ["sce", "sce_tf1", "kl", "kdcl_minlogit"])
def test_the_scale_of_source_004_sums_cross_entropies_over_pairs(cost):
    assert scaled(shape("chain", 4), "noel", cost) == shape("chain", 4)


@pytest.mark.parametrize("scale", ["sum", "mass1", "noel"])
def test_scales_keep_the_blend_and_the_stop_of_gradients(scale):
    edges = scaled(shape("mean", 3, detach=False), scale, "l2")
    assert edges.blend
    assert edges.detach == ((False,) * 3,) * 3


def test_a_scale_can_do_without_edges():
    assert rows(scaled(table([[0, 0], [0, 0]]), "noel", "l2")) == [[0, 0], [0, 0]]


def test_gradients_are_stopped_edge_by_edge():
    edges = table([[0, 1], [1, 0]], detach=[[True, False], [True, True]])
    assert edges.detach == ((True, False), (True, True))


@given(m=st.integers(1, 9), seed=st.integers(-(2**70), 2**70), epoch=st.integers(0, 10**6))
@settings(deadline=None)
def test_a_random_matching_pairs_all_but_an_odd_one_and_repeats_itself(m, seed, epoch):
    drawn = random_matching(m, seed, epoch)
    assert drawn == random_matching(m, seed, epoch)
    assert drawn == tuple(zip(*drawn, strict=True))  # symmetric
    assert sorted(map(sum, drawn)) == [0] * (m % 2) + [1] * (m - m % 2)
    table(drawn)  # raises if a member were paired with itself


def test_random_matchings_reach_every_pairing_and_change_with_seed_and_epoch():
    by_epoch = {random_matching(4, 0, epoch) for epoch in range(50)}
    by_seed = {random_matching(4, seed, 0) for seed in range(50)}
    assert by_epoch == by_seed == {matched(4, pairs) for pairs in pairings(range(4))}


def pairings(members):
    """All ways to pair members, an odd one left out."""
    ordered = permutations(members)
    return {frozenset(zip(order[::2], order[1::2], strict=False)) for order in ordered}


@given(m=st.integers(1, 6), data=st.data())
@settings(max_examples=40, deadline=None)
def test_a_disagreement_matching_is_the_best_of_all_pairings(m, data):
    share = st.sampled_from([0.0, 0.0, 0.25, 0.5, 0.625, 1.0])  # sums of these are exact
    upper = {(i, j): data.draw(share) for i in range(m) for j in range(i)}
    disagreement = [[upper.get((max(i, j), min(i, j)), 0.0) for j in range(m)] for i in range(m)]
    found = disagreement_matching(disagreement)
    assert found == tuple(zip(*found, strict=True))
    assert sorted(map(sum, found)) == [0] * (m % 2) + [1] * (m - m % 2)
    total = sum(disagreement[i][j] for i in range(m) for j in range(m) if found[i][j]) / 2
    assert total == max(sum(disagreement[i][j] for i, j in pairs) for pairs in pairings(range(m)))


def test_members_who_never_disagree_are_paired_all_the_same():
    disagreement = [[0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]]
    assert disagreement_matching(disagreement) == matched(4, [(0, 1), (2, 3)])


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ([[0, 1], [1, 0, 1]], r"square table, got rows of \[2, 3\] for 2 members"),
        ([[0, 1], [1, 2]], r"cannot learn from itself: edges\[1\]\[1\] = 2, expected 0"),
        ([[float("nan"), 1], [1, 0]], r"cannot learn from itself: edges\[0\]\[0\] = nan"),
        ([[0, -1], [1, 0]], r"finite and at least 0, got \[0\.0, -1\.0\] in row 0"),
        ([[0, 1], [float("inf"), 0]], r"got \[inf, 0\.0\] in row 1"),
        ([[0, float("nan")], [1, 0]], r"got \[0\.0, nan\] in row 0"),
    ],
)
def test_tables_that_are_no_edges_are_refused(weights, message):
    with pytest.raises(UsageError, match=message):
        table(weights)


@pytest.mark.parametrize("detach", [[[True, True]], [[True], [True]]])
def test_a_detach_table_of_another_size_is_refused(detach):
    with pytest.raises(UsageError, match="true, false or a table of 2 rows and 2 columns"):
        table([[0, 1], [1, 0]], detach)


def test_an_unknown_shape_is_refused_with_the_nearest_one():
    with pytest.raises(UsageError, match=r"no edges 'rings' \(did you mean 'ring'\?\); there are: chain"):
        shape("rings", 3)


def test_terms_are_added_in_the_order_of_the_rows_unless_another_is_given():
    assert list(shape("all", 3).visits) == [0, 1, 2]
    assert list(replace(shape("all", 2), order=(1, 0)).visits) == [1, 0]

"""Shares of the plain ensemble's gain, beside tests and intervals of scipy."""

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import stats

from concord.report.records import Cell, StudyView
from concord.report.share_table import share_table
from concord.report.shares import ONE_NETWORK, fieller, shares, sign_flips
from concord.report.tables import as_text

PAIR = ("st", "m")
NUMBERS = st.floats(-1, 1).map(lambda x: round(x, 6))


def test_a_ratio_of_means_by_hand():
    # means 3 and 8 / 3; below is constant in the second: t(0.975, 2) sqrt(7 / 3) = 6.5724, divided by 4
    assert fieller([1, 2, 6], [8 / 3 + 0.1, 8 / 3, 8 / 3 - 0.1]).value == pytest.approx(9 / 8)
    found = fieller([1, 2, 6], [4, 4, 4])
    assert found.value == 0.75
    assert [found.low, found.high] == pytest.approx([(3 - 6.572432) / 4, (3 + 6.572432) / 4], rel=1e-5)


@given(st.lists(st.tuples(NUMBERS, NUMBERS.map(lambda x: 1 + x / 3)), min_size=4, max_size=8))
def test_at_the_bounds_of_a_ratio_the_t_test_is_at_five_per_cent(pairs):
    above, below = np.array(pairs).T
    assume(np.ptp(below) > 1e-3)
    assume(stats.ttest_1samp(below, 0, alternative="greater").pvalue < 0.02)
    found = fieller(above, below)
    assert found.low <= found.value <= found.high
    for bound in (found.low, found.high):
        rest = above - bound * below
        if np.ptp(rest) > 1e-6:
            assert stats.ttest_1samp(rest, 0).pvalue == pytest.approx(0.05, rel=1e-3)


def test_a_ratio_to_nothing_has_no_bounds():
    with pytest.raises(ArithmeticError, match="not above zero beyond chance"):
        fieller([1.0, 2.0], [1.0, -0.9])


def test_flipped_signs_by_hand():
    # of 3, -1, 2 the sums are +-6, +-4, +-2 and 0 twice: four of eight are at least 4 in size
    assert sign_flips([3, -1, 2]) == 4 / 8
    assert sign_flips([0.1, 0.2, 0.3, 0.1, 0.5, 0.2]) == 2 / 2**6
    assert sign_flips([0.0, 0.0]) == 1.0


@given(st.lists(NUMBERS, min_size=2, max_size=6))
def test_flipped_signs_are_the_permutation_test_of_pairs(values):
    assume(np.abs(values).max() > 0.01)
    zero = np.zeros(len(values))

    def difference(a, b, axis):
        return np.round(np.mean(a - b, axis=axis), 9)

    theirs = stats.permutation_test((np.array(values), zero), difference, permutation_type="samples")
    assert sign_flips(values) == pytest.approx(theirs.pvalue)


def test_sums_that_rounding_has_moved_apart_are_equal():
    values = [-1 / 3, -1 / 3, 2 / 3, 1 / 2]
    written = [float(f"{value:.3g}") for value in values]
    assert sign_flips(values) == sign_flips(written, lost=0.004) == 0.75
    assert sign_flips(written) == 0.625


def test_many_values_are_flipped_at_random_and_always_alike():
    values = list(np.random.default_rng(1).normal(0.1, 0.3, 24))
    t = stats.ttest_1samp(values, 0).pvalue
    assert sign_flips(values) == sign_flips(values) == pytest.approx(t, abs=0.02)
    assert 0 < sign_flips([1.0] * 40) < 1e-3


def cells(rows):
    """{(cost, weight): {column: errors of seeds 0, 1, ...}} as cells, trained for 100, 300 and 400 MACs."""
    macs = {"st": 100, "m": 300, "ensemble": 400}
    return tuple(
        Cell(
            *setting,
            PAIR,
            seed,
            {"test_error": {c: e[seed] for c, e in columns.items() if seed < len(e)}},
            training_macs=macs if setting[0] == "none" else dict.fromkeys(columns, 800),
        )
        for setting, columns in rows.items()
        for seed in range(max(map(len, columns.values())))
    )


PLAIN = {"st": [0.20, 0.22, 0.24], "m": [0.10, 0.12, 0.10], "ensemble": [0.10, 0.11, 0.12]}


def test_a_share_is_what_a_member_gains_of_what_the_ensemble_gains_on_it():
    view = StudyView("s", cells({("none", 0.0): PLAIN, ("once", 1.0): {"st": [0.14, 0.19, 0.15, 0.01]}}))
    (found,) = shares(view, PAIR)
    assert (found.member, found.setting, found.gain.n) == ("st", ("once", 1.0), 3)
    gains, wholes = [0.06, 0.03, 0.09], [0.10, 0.11, 0.12]
    expected = fieller(gains, wholes)
    assert found.gain.mean == pytest.approx(0.06)
    assert found.share.value == pytest.approx(0.18 / 0.33)
    assert (found.share.low, found.share.high) == pytest.approx((expected.low, expected.high))
    assert found.p == 2 / 8
    assert (found.macs, found.times) == (800, 2.0)
    assert found.per_cost == pytest.approx(0.18 / 0.33 / 2)
    assert json.loads(json.dumps(found.to_dict())) == found.to_dict()
    assert {key: found.to_dict()[key] for key in ("cost", "weight", "seeds", "training_macs")} == {
        "cost": "once",
        "weight": 1.0,
        "seeds": 3,
        "training_macs": 800,
    }


def test_where_the_ensemble_gains_nothing_beyond_chance_there_is_no_share_but_a_reason():
    row = {"st": [0.14, 0.19, 0.15], "m": [0.09, 0.11, 0.10]}
    view = StudyView("s", cells({("none", 0.0): PLAIN, ("l2", 0.1): row}))
    st, m = shares(view, PAIR)
    assert st.share is not None
    assert m.share is None
    assert m.reason == "the plain ensemble is not better than m"
    assert m.gain.mean == pytest.approx(0.02 / 3)
    worse = PLAIN | {"m": [0.10, 0.13, 0.13]}
    _, m = shares(StudyView("s", cells({("none", 0.0): worse, ("l2", 0.1): row})), PAIR)
    assert m.reason.startswith("the gain of the plain ensemble over m is not above zero beyond chance: +1.00")
    table = share_table(StudyView("s", cells({("none", 0.0): worse, ("l2", 0.1): row})), PAIR)
    assert [[entry.text for entry in line][:5] for line in table.rows] == [
        ["st", "l2", "0.1", "3", f"55 ({100 * st.share.low:.0f} to {100 * st.share.high:.0f})"],
        ["m", "l2", "0.1", "3", "-"],
    ]
    assert table.notes[-1] == f"No share of m: {m.reason}."


def test_one_network_in_place_of_all_members_stands_against_their_mean():
    row = {"ensemble": [0.12, 0.15, 0.13]}
    view = StudyView("s", cells({("none", 0.0): PLAIN, ("wider", 0.0): row}))
    (found,) = shares(view, PAIR)
    gains, wholes = [0.03, 0.02, 0.04], [0.05, 0.06, 0.05]  # against 0.15, 0.17 and 0.17
    assert (found.member, found.setting, found.p) == (ONE_NETWORK, ("wider", 0.0), 2 / 8)
    assert found.gain.mean == pytest.approx(0.03)
    assert found.share.value == pytest.approx(9 / 16)
    assert found.share.low == pytest.approx(fieller(gains, wholes).low)
    assert (found.macs, found.times) == (800, 2.0)
    worse = PLAIN | {"ensemble": [0.16, 0.18, 0.20]}
    (found,) = shares(StudyView("s", cells({("none", 0.0): worse, ("wider", 0.0): row})), PAIR)
    assert found.reason == "the plain ensemble is not better than the mean member"
    assert any("against the mean" in note for note in share_table(view, PAIR).notes)


def test_one_seed_and_unknown_costs_leave_the_rest():
    few = {column: errors[:1] for column, errors in PLAIN.items()}
    known = cells({("none", 0.0): few, ("l2", 0.1): {"st": [0.14]}})
    (found,) = shares(StudyView("s", known), PAIR)
    assert (found.share, found.reason) == (None, "a share needs at least two seeds")
    unknown = tuple(replace(cell, training_macs={"st": None}) for cell in known)
    (found,) = shares(StudyView("s", unknown), PAIR)
    assert (found.macs, found.times, found.per_cost) == (None, None, None)
    table = share_table(StudyView("s", unknown), PAIR)
    assert [entry.text for entry in table.rows[0]][4:] == ["-", "+6.00", "-", "-", "-", "-"]


def test_the_table_of_long_figures_fits_120_columns_and_says_what_snapshots_are():
    rows = {("none", 0.0): PLAIN, ("snapshots", 10.0): {"st": [0.04, 0.49, 0.55], "m": [0.09, 0.11, 0.10]}}
    table = share_table(StudyView("s", cells(rows)), PAIR)
    lines = as_text(replace(table, notes=())).splitlines()
    assert max(map(len, lines)) <= 120
    assert any("one pass for each cycle" in note for note in table.notes)
    other = {("none", 0.0): PLAIN, ("l2", 10.0): rows["snapshots", 10.0]}
    assert "one pass for each cycle" not in str(share_table(StudyView("s", cells(other)), PAIR).notes)


def test_members_by_themselves_have_no_ensemble_to_share_with():
    assert shares(StudyView("s", cells({("none", 0.0): PLAIN})), ("st",)) == []

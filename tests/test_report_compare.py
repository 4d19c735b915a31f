import math

import pytest
from scipy import stats

from concord.errors import UsageError
from concord.report.compare import (
    Difference,
    choose,
    churn,
    interval,
    mean,
    member_sets,
    paired_difference,
    preferred,
    settings,
    standard_deviation,
    summary,
)
from concord.report.records import Cell, StudyView

PAIR = ("st", "m")


def cell(cost, weight, seed, test, valid=None, members=PAIR, column="ensemble"):
    scores = {"test_error": {column: test}}
    if valid is not None:
        scores["valid_error"] = {column: valid}
    return Cell(cost, weight, members, seed, scores)


def test_mean_deviation_and_interval_by_hand():
    # 1, 2, 6: deviations -2, -1, 3, squares 4 + 1 + 9 = 14, variance 14 / 2; t(0.975, 2) = 4.302653
    assert mean([1, 2, 6]) == 3
    assert standard_deviation([1, 2, 6]) == pytest.approx(math.sqrt(7))
    half = 4.302652729911275 * math.sqrt(7) / math.sqrt(3)
    assert interval([1, 2, 6]) == pytest.approx((3 - half, 3 + half))


def test_interval_is_that_of_scipy():
    values = [0.0054, 0.0061, 0.0049, 0.0058, 0.0071]
    expected = stats.t.interval(0.95, 4, loc=mean(values), scale=stats.sem(values))
    assert interval(values) == pytest.approx(expected, rel=1e-12)


def test_one_value_has_a_mean_and_no_spread():
    assert summary([0.25]).mean == 0.25
    assert (summary([0.25]).sd, summary([0.25]).low) == (None, None)


def test_no_value_has_no_summary():
    with pytest.raises(UsageError, match="at least one value"):
        summary([])


def test_paired_difference_by_hand():
    # differences 1, 2, 6 (see above): mean 3, t = 3 / sqrt(7 / 3) = 1.9640
    ours, theirs = {0: 11, 1: 22, 2: 36, 8: 99}, {2: 30, 1: 20, 0: 10, 9: 0}
    found = paired_difference(ours, theirs)
    half = 4.302652729911275 * math.sqrt(7 / 3)
    assert (found.n, found.mean) == (3, 3)
    assert (found.low, found.high) == pytest.approx((3 - half, 3 + half))
    assert found.p == pytest.approx(2 * stats.t.sf(3 / math.sqrt(7 / 3), 2))


def test_swapping_the_sides_changes_the_sign_only():
    ours, theirs = {0: 0.5, 1: 0.7, 2: 0.4}, {0: 0.6, 1: 0.65, 2: 0.9}
    there, back = paired_difference(ours, theirs), paired_difference(theirs, ours)
    assert (back.mean, back.low, back.high, back.p) == pytest.approx(
        (-there.mean, -there.high, -there.low, there.p)
    )


def test_differences_without_spread_are_no_accident_of_rounding():
    assert paired_difference({0: 0.3, 1: 0.5}, {0: 0.3, 1: 0.5}) == Difference(2, 0.0, 0.0, 0.0, 1.0)
    assert paired_difference({0: 0.1 + 0.2, 1: 0.5}, {0: 0.3, 1: 0.5}).p == 1.0  # 0.30000000000000004
    constant = paired_difference({0: 0.3, 1: 0.4, 2: 0.7}, {0: 0.1, 1: 0.2, 2: 0.5})
    assert (constant.low, constant.high, constant.p) == (constant.mean, constant.mean, 0.0)


def test_one_common_seed_gives_a_difference_and_none_gives_nothing():
    assert paired_difference({3: 0.5}, {3: 0.25}) == Difference(1, 0.25, None, None, None)
    assert paired_difference({3: 0.5}, {4: 0.25}) is None


def test_the_weight_is_chosen_on_the_validation_split():
    # 0.1 has the best test error and 0.01 the best validation error: the test split must not be asked
    cells = [cell("l2", 0.1, s, test=0.01 + s / 100, valid=0.05) for s in (0, 1)]
    cells += [cell("l2", 0.01, s, test=0.03 + s / 50, valid=0.02) for s in (0, 1)]
    (choice,) = choose(cells, PAIR)
    assert (choice.cost, choice.weight, choice.valid.mean) == ("l2", 0.01, 0.02)
    assert choice.test.mean == pytest.approx(0.04)


def test_equal_validation_errors_go_to_the_smaller_weight():
    # 0.1 + 0.2 is not 0.3 in floating point; the means are equal all the same
    cells = [cell("l2", 1.0, s, 0.1, valid) for s, valid in enumerate((0.3, 0.0))]
    cells += [cell("l2", 0.1, s, 0.2, valid) for s, valid in enumerate((0.1, 0.2))]
    assert [c.weight for c in choose(cells, PAIR)] == [0.1]


def test_a_baseline_is_preferred_to_an_equal_row_and_a_small_weight_to_a_large_one():
    cells = [cell("l2", 1.0, 0, 0.1, 0.2), cell("kl", 0.5, 0, 0.1, 0.2), cell("none", 0.0, 0, 0.3, 0.2)]
    found = choose(cells, PAIR)
    assert preferred(found, "none").cost == "none"
    assert preferred(found, None).cost == "none"  # of the smallest weight
    assert preferred([one for one in found if one.cost != "none"], "none").cost == "kl"
    assert preferred(choose([*cells, cell("l1", 2.0, 0, 0.4, 0.1)], PAIR), "none").cost == "l1"
    alone = cell("alone", 0.0, 0, 0.3, 0.2)
    assert preferred(choose([alone, *cells], PAIR), "none").cost == "none"


def test_a_diverged_setting_is_not_chosen_and_a_cost_without_validation_is_left_out():
    cells = [cell("l2", 1.0, 0, 0.1, math.nan), cell("l2", 0.1, 0, 0.2, 0.2), cell("l1", 0.1, 0, 0.2)]
    assert [(c.cost, c.weight) for c in choose(cells, PAIR)] == [("l2", 0.1)]


def test_rows_begin_with_the_baselines_and_members_alone_join_their_set():
    cells = [cell("l2", w, 0, 0.1) for w in (0.01, 1.0)] + [cell("none", 0.0, 0, 0.1)]
    cells += [cell("alone", 0.0, 0, 0.1, members=("st",), column="st")]
    cells += [cell("alone", 0.0, 0, 0.1, members=("other",), column="other")]
    study = StudyView("s", tuple(cells))
    assert settings(study, PAIR) == [("none", 0.0), ("alone", 0.0), ("l2", 1.0), ("l2", 0.01)]
    assert member_sets(study.cells) == [PAIR, ("other",)]


def test_churn_by_hand():
    # pairs of runs differ on 1, 3 and 3 of 4 samples
    assert churn([[0, 1, 2, 3], [0, 1, 2, 0], [0, 2, 0, 1]]) == pytest.approx((1 + 3 + 3) / 3 / 4)
    assert churn([[0, 1]]) is None


def test_churn_over_other_samples_is_refused():
    with pytest.raises(UsageError, match=r"\[2, 3\]"):
        churn([[0, 1], [0, 1, 2]])

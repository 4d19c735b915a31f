"""Which cost a study may say has won, on scores made by hand."""

import pytest
from scipy import stats

from concord.report.records import Cell, StudyView
from concord.report.text import share
from concord.report.verdict import findings, holm, verdict_sentences, winner

PAIR = ("st", "m")


def cells(cost, weight, errors, *, valid=0.1, columns=("st",)):
    """A run per seed whose columns all have these errors."""
    return [
        Cell(cost, weight, PAIR, seed, {"test_error": dict.fromkeys(columns, error),
                                        "valid_error": dict.fromkeys(columns, valid)})
        for seed, error in enumerate(errors)
    ]  # fmt: skip


def study(*rows):
    return StudyView("s", tuple(cell for row in rows for cell in row))


PLAIN = cells("none", 0.0, [0.10, 0.12, 0.11, 0.13])
BETTER = cells("sce", 1.0, [0.07, 0.10, 0.08, 0.10])
NOISE = cells("l2", 0.1, [0.11, 0.11, 0.12, 0.12])


def test_holm_multiplies_by_the_comparisons_that_are_left_and_never_falls():
    # ascending: 4 * 0.001, 3 * 0.013, 2 * 0.04, 1 * 0.2
    assert holm([0.04, 0.001, 0.2, 0.013]) == pytest.approx([0.08, 0.004, 0.2, 0.039])
    assert holm([0.011, 0.01]) == pytest.approx([0.02, 0.02])
    assert holm([None, 0.6, 0.7]) == [None, 1, 1]


def test_a_proven_gain_is_named_with_its_interval():
    (sentence,) = verdict_sentences(study(PLAIN, BETTER, NOISE))
    # differences -3, -2, -3, -3 points: mean -2.75, sd 0.5, half width 3.1824 * 0.5 / 2
    assert "consensus with sce 1 lowers the test error below that of the plain ensemble" in sentence
    assert "st from 11.50 to 8.75 %: -2.75 percentage points (95 %: -3.55 to -1.95)" in sentence
    assert "Paired t test over 4 seeds, corrected for 2 comparisons." in sentence


def test_a_row_without_consensus_is_not_called_one():
    (sentence,) = verdict_sentences(study(PLAIN, cells("chain", 2.0, [0.07, 0.10, 0.08, 0.10])))
    assert sentence.startswith(
        "st + m: the row chain 2 lowers the test error below that of the plain ensemble"
    )
    (sentence,) = verdict_sentences(study(PLAIN, cells("l2 burn_in 0.5", 0.1, [0.07, 0.10, 0.08, 0.10])))
    assert sentence.startswith("st + m: consensus with l2 burn_in 0.5 0.1 lowers")


def test_p_is_that_of_the_paired_t_test_times_the_comparisons():
    best = findings(study(PLAIN, BETTER, NOISE), PAIR)[0]
    p = stats.ttest_rel([0.07, 0.10, 0.08, 0.10], [0.10, 0.12, 0.11, 0.13]).pvalue
    assert (best.setting, best.p) == (("sce", 1.0), pytest.approx(2 * p))


def test_chance_is_called_chance():
    found = study(PLAIN, NOISE)
    assert winner(findings(found, PAIR)) is None
    (sentence,) = verdict_sentences(found)
    assert sentence.startswith("st + m: nothing is proven.")
    assert "The largest difference is +0.00 percentage points" in sentence


def test_two_seeds_prove_nothing_nor_do_differences_without_spread():
    assert "needs 3 seeds for each setting; it has 2." in "".join(
        verdict_sentences(study(PLAIN[:2], BETTER[:2]))
    )
    same = cells("l1", 1.0, [0.08, 0.10, 0.09, 0.11])  # 2 points each: a t test would say p = 0
    assert not any(row.proven for row in findings(study(PLAIN, same), PAIR))


def test_a_loss_is_named_too():
    worse = cells("l1", 1.0, [0.30, 0.33, 0.30, 0.35])
    (sentence,) = verdict_sentences(study(PLAIN, worse))
    assert sentence.endswith("Proven to be worse: l1 1 (st).")


def test_of_each_cost_only_the_weight_that_validation_chose_is_compared():
    chosen = cells("sce", 0.1, [0.11, 0.11, 0.12, 0.12], valid=0.05)
    assert [row.setting for row in findings(study(PLAIN, BETTER, chosen), PAIR)] == [("sce", 0.1)]


def test_small_parts_are_not_rounded_to_nothing():
    assert [share(x) for x in (0.14, 0.0042, 0.043, 0.00001, 0.995)] == [
        "14 %", "0.42 %", "4.3 %", "less than 0.01 %", "100 %",
    ]  # fmt: skip

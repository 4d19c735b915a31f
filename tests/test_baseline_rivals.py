"""Intervals and the paired test by hand, and the tables that show them."""

import numpy as np
import pytest

from concord.report.rivals import (
    Rival,
    pair_table,
    paired,
    published_table,
    rival_table,
    support_table,
)
from concord.runs.intervals import wilson


def rival(name, wrong, n=50, **more):
    marks = np.isin(np.arange(n), list(wrong))
    return Rival(name, "c 5", 700, marks, 1.5, 0.002, 1000, 900, **more)


def texts(table):
    return [[entry.text for entry in row] for row in table.rows]


def test_wilson_by_hand():
    """k = 10, n = 100, z = 1.959964: (k + z^2/2 -+ z sqrt(9 + z^2/4)) / (n + z^2)."""
    assert wilson(10, 100) == pytest.approx((0.055229, 0.174364), abs=2e-6)
    assert wilson(0, 100) == pytest.approx((0, 3.841459 / 103.841459), abs=1e-6)


def test_the_paired_test_by_hand():
    """One image only the first gets wrong, six only the second, two both: p = 2 (1 + 7) / 2^7."""
    pair = paired(rival("a", {0, 1, 2}), rival("b", {1, 2, 3, 4, 5, 6, 7, 8}))
    assert (pair.name, pair.only_this, pair.only_other) == ("a", 1, 6)
    assert pair.p == pytest.approx(0.125)
    assert pair.difference == pytest.approx(-0.1)
    # (-5 -+ 1.959964 sqrt(8 - 25/52)) / 52
    assert (pair.low, pair.high) == pytest.approx((-0.199509, 0.007202), abs=2e-6)


def test_one_that_is_equal_to_itself_differs_by_nothing():
    pair = paired(rival("a", {3}), rival("b", {3}))
    assert (pair.difference, pair.p) == (0, 1)
    assert pair.low == -pair.high


def test_exchanging_the_two_turns_the_signs():
    a, b = rival("a", {0, 1}), rival("b", {1, 5, 6, 7})
    one, other = paired(a, b), paired(b, a)
    assert (one.low, one.high, one.p) == pytest.approx((-other.high, -other.low, other.p))


def test_a_number_that_is_kept_takes_four_bytes():
    assert rival("a", {0}).bytes == 4000


def test_the_table_tells_error_cost_and_support_vectors():
    table = rival_table([rival("svm", {0}, support=(4, 5)), rival("knn", {0, 1}, published=0.05)], "digits")
    first, second = texts(table)
    assert first[3] == "2.00"
    assert first[4] == "0.35 to 10.50"
    assert first[5:] == ["-", "1.5", "40.0", "9", "1,000", "4.00 kB", "900"]
    assert second[5] == "5.00"
    assert second[8] == "-"
    assert [entry.text for row in table.rows for entry in row if entry.best] == ["2.00"]


def test_there_is_no_column_for_figures_that_nobody_published():
    assert "published %" not in rival_table([rival("svm", {0})], "digits").header


def test_support_vectors_stand_under_their_class():
    table = support_table([rival("svm", {0}, support=(4, 5)), rival("knn", {0})], ("cat", "dog"))
    assert table.header == ("classifier", "cat", "dog", "all")
    assert texts(table) == [["svm", "4", "5", "9"]]


def test_everyone_but_the_reference_is_compared_with_it():
    a, b = rival("a", {0, 1, 2}), rival("b", {1, 2, 3, 4, 5, 6, 7, 8})
    table = pair_table([a, b], b)
    assert texts(table) == [["a", "1", "6", "-10.00", "-19.95 to +0.72", "0.12"]]
    assert table.caption == "Against b"


def test_published_figures_are_in_percent():
    assert texts(published_table([("LeNet-5", "as they are", 0.0095)])) == [
        ["LeNet-5", "as they are", "0.95"]
    ]

"""What the validation split would choose among the rows of the map of collaboration."""

import runpy
import sys
from pathlib import Path

import pytest

TOOLS = Path(__file__).parent.parent / "tools"


@pytest.fixture
def tool(monkeypatch):
    monkeypatch.syspath_prepend(str(TOOLS))
    yield runpy.run_path(str(TOOLS / "collaboration_choice.py"))
    sys.modules.pop("collaboration_rows", None)


@pytest.fixture
def row(tool):
    def made(cost, seed, valid, *, column="a", test=0.5):
        weight = 0.0 if cost == "none" else 1.0
        figures = {"test_error": test, "valid_error": valid}
        return tool["Row"]("digits", 100, 20, cost, weight, column, str(seed), **figures)

    return made


@pytest.fixture
def found(tool):
    def chosen(rows, name="CHOSEN"):
        there = tool["with_choices"](rows)
        return {(r.seed, r.column): r.test_error for r in there if r.setting == tool[name]}

    return chosen


def test_every_seed_has_the_setting_whose_members_err_least_on_the_validation_split(row, found):
    rows = [row("none", 0, 0.30, test=0.31), row("l2", 0, 0.20, test=0.21)]
    rows += [row("none", 1, 0.10, test=0.11), row("l2", 1, 0.20, test=0.22)]
    assert found(rows) == {("0", "a"): 0.21, ("1", "a"): 0.11}


def test_members_count_by_their_mean_and_the_ensemble_by_its_own_error(row, found):
    rows = [row("none", 0, 0.10), row("none", 0, 0.50, column="b")]
    rows += [row("l2", 0, 0.28, test=0.6), row("l2", 0, 0.30, column="b", test=0.7)]
    rows += [row("none", 0, 0.0, column="ensemble", test=0.2), row("l2", 0, 0.9, column="ensemble")]
    assert found(rows) == {("0", "a"): 0.6, ("0", "b"): 0.7, ("0", "ensemble"): 0.2}


def test_the_plain_ensemble_is_chosen_where_it_is_among_the_best(row, found):
    assert found([row("l2", 0, 0.2, test=0.1), row("none", 0, 0.2, test=0.3)]) == {("0", "a"): 0.3}


def test_the_recommended_consensus_has_a_choice_of_its_own_against_plain(row, found):
    rows = [row("none", 0, 0.3, test=0.31), row("l2", 0, 0.1, test=0.11)]
    rows += [row("sce_tf1 linear 1", 0, 0.2, test=0.21), row("sce_tf1", 0, 0.15, test=0.16)]
    assert found(rows, "EITHER") == {("0", "a"): 0.21}
    assert found(rows) == {("0", "a"): 0.11}


def test_a_member_taught_once_and_an_arm_that_lacks_a_seed_are_not_chosen(row, found):
    rows = [row("none", 0, 0.4, test=0.41), row("none", 1, 0.4, test=0.42), row("l2", 0, 0.1, test=0.2)]
    rows += [row("once", seed, 0.1, test=0.3) for seed in (0, 1)]
    assert found(rows) == {("0", "a"): 0.41, ("1", "a"): 0.42}


def test_nothing_is_chosen_without_validation_errors(row, found):
    assert found([row("none", 0, None), row("l2", 0, None)]) == {}

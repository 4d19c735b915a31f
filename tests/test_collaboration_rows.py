"""What the validation split would choose among the rows of the map of collaboration."""

import runpy
from pathlib import Path

import pytest

TOOL = runpy.run_path(str(Path(__file__).parent.parent / "tools/collaboration_rows.py"))
Row, chosen = TOOL["Row"], TOOL["CHOSEN"]


def row(cost, seed, valid, *, column="a", test=0.5, weight=1.0):
    weight = 0.0 if cost == "none" else weight
    return Row("digits", 100, 20, cost, weight, column, str(seed), test_error=test, valid_error=valid)


def found(rows):
    return {(r.seed, r.column): r.test_error for r in TOOL["with_choice"](rows) if r.setting == chosen}


def test_every_seed_has_the_setting_whose_members_err_least_on_the_validation_split():
    rows = [row("none", 0, 0.30, test=0.31), row("l2", 0, 0.20, test=0.21)]
    rows += [row("none", 1, 0.10, test=0.11), row("l2", 1, 0.20, test=0.22)]
    assert found(rows) == {("0", "a"): 0.21, ("1", "a"): 0.11}


def test_members_count_by_their_mean_and_the_ensemble_follows():
    rows = [row("none", 0, 0.10), row("none", 0, 0.50, column="b"), row("none", 0, 0.0, column="ensemble")]
    rows += [
        row("l2", 0, 0.28),
        row("l2", 0, 0.30, column="b"),
        row("l2", 0, 0.9, column="ensemble", test=0.7),
    ]
    assert found(rows)["0", "ensemble"] == 0.7


def test_the_plain_ensemble_is_chosen_where_it_is_among_the_best():
    assert found([row("l2", 0, 0.2, test=0.1), row("none", 0, 0.2, test=0.3)]) == {("0", "a"): 0.3}


def test_a_member_taught_once_and_an_arm_that_lacks_a_seed_are_not_chosen():
    rows = [row("none", 0, 0.4, test=0.41), row("none", 1, 0.4, test=0.42), row("l2", 0, 0.1, test=0.2)]
    rows += [row("once", seed, 0.1, test=0.3) for seed in (0, 1)]
    assert found(rows) == {("0", "a"): 0.41, ("1", "a"): 0.42}


def test_nothing_is_chosen_without_validation_errors():
    assert found([row("none", 0, None), row("l2", 0, None)]) == {}


def test_new_rows_take_the_place_of_those_of_the_same_run_and_the_others_stay():
    old, other, new = row("l2", 0, 0.2), row("l2", 1, 0.2), row("l2", 0, 0.1)
    assert TOOL["merged"]([old, other], [new]) == [new, other]


@pytest.mark.parametrize("valid", [0.25, None])
def test_rows_are_read_as_they_were_written(valid, tmp_path):
    rows = [row("sce_tf1 linear 1", 3, valid, test=0.125)]
    path = tmp_path / "map.csv"
    path.write_text(TOOL["written"](rows))
    assert TOOL["read"](path) == rows

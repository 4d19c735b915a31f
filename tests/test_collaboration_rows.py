"""Rows of the map of collaboration, as they are kept in a file."""

import runpy
from pathlib import Path

import pytest

TOOL = runpy.run_path(str(Path(__file__).parent.parent / "tools/collaboration_rows.py"))


def row(cost, seed, valid, test=0.5):
    return TOOL["Row"]("digits", 100, 20, cost, 1.0, "a", str(seed), test_error=test, valid_error=valid)


def test_new_rows_take_the_place_of_those_of_the_same_run_and_the_others_stay():
    old, other, new = row("l2", 0, 0.2), row("l2", 1, 0.2), row("l2", 0, 0.1)
    assert TOOL["merged"]([old, other], [new]) == [new, other]


@pytest.mark.parametrize("valid", [0.25, None])
def test_rows_are_read_as_they_were_written(valid, tmp_path):
    rows = [row("sce_tf1 linear 1", 3, valid, test=0.125)]
    path = tmp_path / "map.csv"
    path.write_text(TOOL["written"](rows))
    assert TOOL["read"](path) == rows

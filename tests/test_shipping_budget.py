"""How the seconds are spent: worked examples, and what holds for all of them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from concord.shipping import budget
from concord.shipping.budget import Full, Halving, Line, Rung, full, halving, lines_of_ways, room

FOUR = {"a": Line(1, 1), "b": Line(1, 2), "c": Line(1, 3), "d": Line(1, 4)}


def test_halving_by_hand():
    """All for e epochs, 4 + 10 e; the two slowest for 2 e, 2 + 14 e: 6 + 24 e <= 110 gives e = 4."""
    assert halving(FOUR, 110, 1000) == Halving(("a", "b", "c", "d"), (Rung(4, 4), Rung(2, 8)), 102)


def test_the_slowest_is_left_out_where_epochs_are_too_few():
    """With d, e = 2. Without it 3 + 6 e and 2 + 10 e: 5 + 16 e <= 54 gives e = 3."""
    assert halving(FOUR, 54, 1000) == Halving(("a", "b", "c"), (Rung(3, 3), Rung(2, 6)), 53)


def test_without_time_to_compare_the_choice_is_the_slowest_that_there_is_time_for():
    assert halving(FOUR, 5, 46) == Halving(("c",), (), 0.0)  # 1 + 15 x 3 = 46
    assert halving(FOUR, 5, 45) == Halving(("b",), (), 0.0)
    assert halving(FOUR, 5, 5) == Halving(("a",), (), 0.0)


def test_short_runs_stay_short():
    assert halving(FOUR, 1e9, 1e9).rungs == (Rung(4, budget.SHORT), Rung(2, 2 * budget.SHORT))


def test_the_cost_of_each_way_by_hand():
    """Teaching is a third of learning: the pair's 9 becomes 3, the small network's 3 becomes 1."""
    lines = lines_of_ways(Line(2, 3), Line(2, 9))
    assert {way: line.epoch for way, line in lines.items()} == {
        "plain": 9,
        "once": 6,
        "collaborating": 9,
        "chain": 7,
        "alone": 3,
    }


def test_ways_are_left_out_from_the_last():
    """An epoch of all four is 31 s, of three 24, of two 15, each run has 2 s besides."""
    lines = lines_of_ways(Line(2, 3), Line(2, 9))
    assert full(lines, 8 + 31 * 15) == Full(budget.WAYS, 15, 8 + 31 * 15)
    assert full(lines, 7 + 31 * 15) == Full(("plain", "once", "collaborating"), 19, 6 + 24 * 19)
    assert full(lines, 4 + 15 * 15) == Full(("plain", "once"), 15, 4 + 15 * 15)
    assert full(lines, 3 + 15 * 15) == Full(("alone",), 75, 2 + 3 * 75)  # a partner teaches nobody
    assert full(lines, 2 + 3 * 8) == Full(("alone",), 8, 2 + 3 * 8)
    assert full(lines, 2 + 3 * 2) is None


times = st.floats(0.01, 1e3)
lines = st.builds(Line, times, times)


@given(st.dictionaries(st.text(min_size=1), lines, min_size=1, max_size=8), st.floats(0, 1e6))
def test_halving_stays_within_its_seconds(found, seconds):
    search = halving(found, seconds, seconds)
    assert search.seconds <= seconds * (1 + 1e-9) + 1e-9
    assert set(search.names) <= set(found)
    assert not search.rungs or search.rungs[0].runs == len(search.names)
    slowest = {name: line.epoch for name, line in found.items() if name not in search.names}
    if search.rungs and slowest:
        assert min(slowest.values()) >= max(found[name].epoch for name in search.names)


@given(lines, lines, st.floats(0, 1e6))
def test_full_runs_stay_within_their_seconds(small, more, seconds):
    pair = Line(small.fixed, small.epoch + more.epoch)
    found = full(lines_of_ways(small, pair), seconds)
    assert found is None or found.seconds <= seconds * (1 + 1e-9)
    assert found is None or found.epochs >= budget.LEAST


def test_a_line_times_a_factor():
    assert Line(2, 3).times(1.5) == Line(3, 4.5)
    assert Line(2, 3).seconds(4) == pytest.approx(14)


def test_a_further_way_has_room_at_the_speed_of_those_before_it():
    """30 s were expected and 45 taken: of 10 s become 15, and 45 + 15 = 60."""
    expected, taken = {"plain": 20, "once": 10, "collaborating": 10}, {"plain": 33, "once": 12}
    assert room("collaborating", expected, taken, 60)
    assert not room("collaborating", expected, taken, 59.9)
    assert room("plain", expected, {}, 0)

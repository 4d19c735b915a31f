"""The weight of the consensus over the course of training."""

from math import exp, sqrt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from concord.consensus import schedule

HALF = 0.5
EVERY = {
    "constant": (schedule.constant(), [1, 1, 1, 1, 1]),
    "linear to the end": (schedule.linear(1.0), [0, 0.25, 0.5, 0.75, 1]),
    "linear to the middle": (schedule.linear(HALF), [0, 0.5, 1, 1, 1]),
    "sigmoid to the middle": (schedule.sigmoid(HALF), [exp(-5), exp(-1.25), 1, 1, 1]),
    "burn-in to the middle": (schedule.burn_in(HALF), [0, 0, 1, 1, 1]),
    "cosine down": (schedule.cosine(1.0, 0.0), [1, HALF + sqrt(2) / 4, 0.5, HALF - sqrt(2) / 4, 0]),
    "cosine up": (schedule.cosine(0.2, 0.6), [0.2, 0.4 - 0.2 / sqrt(2), 0.4, 0.4 + 0.2 / sqrt(2), 0.6]),
    "piecewise": (schedule.piecewise([(0.25, 3.0), (0.75, 0.5)]), [1, 3, 3, 0.5, 0.5]),
}


@pytest.mark.parametrize("name", EVERY)
def test_factors_at_the_quarters_of_training(name):
    factor, expected = EVERY[name]
    assert [factor(quarter / 4) for quarter in range(5)] == pytest.approx(expected)


@given(until=st.floats(0.01, 1), early=st.floats(0, 1), late=st.floats(0, 1))
def test_ramps_never_fall_and_end_at_one(until, early, late):
    early, late = sorted((early, late))
    for ramp in (schedule.linear(until), schedule.sigmoid(until), schedule.burn_in(until)):
        assert 0 <= ramp(early) <= ramp(late) <= ramp(until) == ramp(1.0) == 1

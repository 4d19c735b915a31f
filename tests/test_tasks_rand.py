"""Rand scores: by hand, and beside counting all pairs of pixels."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.ndimage import label

from concord.errors import ShapeError, UsageError
from concord.tasks.rand import RandScore, best_rand_score, rand_score


def line(text):
    """A map of one row: letters inside of regions, dots on borders."""
    return np.array([[sign != "." for sign in text]])


@pytest.mark.parametrize(
    ("truth", "predicted", "both", "split", "merge"),
    [
        ("aaa.bb", "aaaaaa", 13 / 19, 1, 13 / 25),  # 3 and 2 pixels in one region: (9 + 4) of 25 pairs
        ("aaaaa", "aa.bb", 13 / 19, 13 / 25, 1),  # 2 or 3 pixels and the rest
        (
            "aaa.bbbb",
            "a..bbbbb",
            42 / 54,
            21 / 25,
            21 / 29,
        ),  # 2 + 1 and 4: 21; truth 9 + 16, predicted 4 + 25
        ("aaa.bb", "......", 10 / 18, 5 / 13, 1),  # each of 5 pixels alone
        ("aaa.bb", "aaa.bb", 1, 1, 1),
        ("aaa...bb", "aaaa.bbb", 1, 1, 1),  # how wide borders are is of no account
    ],
)
def test_scores_by_hand(truth, predicted, both, split, merge):
    found = rand_score(line(truth), line(predicted))
    assert (found.both, found.split, found.merge) == pytest.approx((both, split, merge))


def by_pairs(truth, predicted):
    """Shares of ordered pairs of pixels inside of true regions, a pixel with itself among them."""
    t, s = label(truth)[0], label(predicted)[0]
    places = np.argwhere(s > 0)
    inside = np.argwhere(truth)
    near = [places[((places - p) ** 2).sum(1).argmin()] for p in inside] if len(places) else inside
    regions = [s[tuple(p)] if len(places) else i for i, p in enumerate(near)]
    true = [t[tuple(p)] for p in inside]
    pairs = [(a, b) for a in range(len(inside)) for b in range(len(inside))]
    same_t = {(a, b) for a, b in pairs if true[a] == true[b]}
    same_s = {(a, b) for a, b in pairs if regions[a] == regions[b]}
    return len(same_t & same_s), len(same_t), len(same_s)


def unambiguous(predicted):
    """Whether every border pixel has all of its nearest inner pixels in one region."""
    s, places = label(predicted)[0], np.argwhere(predicted)
    for p in np.argwhere(~predicted):
        far = ((places - p) ** 2).sum(1)
        if len({s[tuple(q)] for q in places[far == far.min()]}) > 1:
            return False
    return True


@given(arrays(bool, (5, 6)), arrays(bool, (5, 6)))
@settings(max_examples=150, deadline=None)
def test_scores_are_those_of_all_pairs_counted_one_by_one(truth, predicted):
    found = rand_score(truth, predicted)
    if not truth.any():
        assert found is None
    elif not predicted.any() or unambiguous(predicted):
        together, of_t, of_s = by_pairs(truth, predicted)
        expected = (2 * together / (of_t + of_s), together / of_t, together / of_s)
        assert (found.both, found.split, found.merge) == pytest.approx(expected)
    else:
        assert 0 < found.both <= 1


@given(arrays(bool, (6, 7)), st.integers(0, 3))
@settings(max_examples=50, deadline=None)
def test_the_same_map_has_a_score_of_one_however_it_is_turned(truth, turns):
    turned = np.rot90(truth, turns)
    assert rand_score(turned, turned) == (RandScore(1.0, 1.0, 1.0) if truth.any() else None)


def test_regions_touch_at_sides_and_not_at_corners():
    corner = np.array([[True, False], [False, True]])
    assert rand_score(corner, np.ones((2, 2), bool)).merge == pytest.approx(1 / 2)


def test_the_best_threshold_is_the_one_at_which_regions_part():
    truth, probability = line("aa.bbb"), np.array([[0.9, 0.8, 0.6, 0.8, 0.9, 0.7]])
    best, threshold = best_rand_score(truth, probability, [0.5, 0.65, 0.75])
    assert (best, threshold) == (RandScore(1.0, 1.0, 1.0), 0.65)
    assert rand_score(truth, probability > 0.5).both == pytest.approx(26 / 38)
    assert best_rand_score(line("..."), probability[:, :3], [0.5]) is None


def test_other_maps_and_no_thresholds_are_refused():
    with pytest.raises(ShapeError, match=r"two maps \(H, W\), got \(1, 2\) and \(1, 3\)"):
        rand_score(line("aa"), line("aaa"))
    with pytest.raises(ShapeError):
        rand_score(np.ones(3, bool), np.ones(3, bool))
    with pytest.raises(UsageError, match="at least one threshold"):
        best_rand_score(line("aa"), np.ones((1, 2)), [])

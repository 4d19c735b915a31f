"""Sets of labels: scores and thresholds by hand, the coverage that is promised, exactly."""

from fractions import Fraction
from math import ceil, inf

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from concord.errors import ShapeError, UsageError
from concord.uncertainty.conformal import METHODS, aps, label_sets, lac, needed, raps, threshold

P = torch.tensor([[0.2, 0.5, 0.3]], dtype=torch.float64)
HALF = torch.tensor([0.5], dtype=torch.float64)


def test_scores_by_hand():
    # by falling probability: class 1 (0.5), class 2 (0.3), class 0 (0.2)
    assert lac(P, HALF)[0].tolist() == pytest.approx([0.8, 0.5, 0.7])
    assert aps(P, HALF)[0].tolist() == pytest.approx([0.9, 0.25, 0.65])  # 0.5 + 0.3 + 0.1, 0.25, 0.5 + 0.15
    assert raps(P, HALF)[0].tolist() == pytest.approx([1.1, 0.25, 0.75])  # + 0.1 (3 - 1), + 0, + 0.1 (2 - 1)
    none = torch.zeros(1, dtype=torch.float64)
    assert aps(P, none)[0].tolist() == pytest.approx([0.8, 0.0, 0.5])


def test_a_threshold_by_hand():
    scores = torch.tensor([0.5, 0.1, 0.9, 0.3, 0.7, 0.2, 0.8])
    assert threshold(scores, 0.75) == pytest.approx(0.8)  # k = ceil(8 x 0.75) = 6
    assert threshold(scores, 0.76) == pytest.approx(0.9)  # k = 7
    assert threshold(scores, 0.9) == inf  # k = 8 of 7
    assert threshold(torch.zeros(0), 0.1) == inf


def test_a_coverage_of_nine_tenths_is_not_rounded_up_by_the_machine():
    scores = torch.arange(1.0, 20.0)  # 20 x 0.9 is 18, and 18.000000000000004 in floats of another order
    assert threshold(scores, 0.9) == 18
    assert needed(0.9) == 9
    assert threshold(scores[:9], 0.9) == 9
    assert threshold(scores[:8], 0.9) == inf
    assert needed(0.95) == 19
    assert (threshold(scores, np.float64(0.9)), needed(np.float64(0.9))) == (18, 9)


@given(
    st.lists(st.integers(0, 10**9), min_size=2, max_size=40, unique=True),
    st.sampled_from([0.1, 0.5, 0.75, 0.9, 0.95]),
)
def test_of_exchangeable_scores_exactly_the_promised_share_is_covered(values, coverage):
    """Each of n + 1 scores is once the new one: k / (n + 1) of them are at most the threshold of the rest."""
    scores, n = torch.tensor(values, dtype=torch.float64), len(values) - 1
    covered = sum(
        scores[i].item() <= threshold(torch.cat([scores[:i], scores[i + 1 :]]), coverage)
        for i in range(n + 1)
    )
    wanted = Fraction(repr(coverage)) * (n + 1)
    assert covered == min(ceil(wanted), n + 1)


@pytest.mark.parametrize("method", METHODS)
def test_sets_cover_as_often_as_wanted_whatever_the_classifier_is(method):
    generator = torch.Generator().manual_seed(4)
    logits = 2 * torch.randn(6000, 5, generator=generator, dtype=torch.float64)
    labels = torch.multinomial(logits.softmax(-1), 1, generator=generator)[:, 0]
    p, u = (3 * logits).softmax(-1), torch.rand(6000, generator=generator, dtype=torch.float64)  # too sure
    held, new = slice(0, 3000), slice(3000, 6000)
    true = METHODS[method](p, u)[torch.arange(6000), labels]
    sets = label_sets(method, p[new], u[new], threshold(true[held], 0.8))
    hit = sets[torch.arange(3000), labels[new]].double().mean().item()
    assert hit > 0.8 - 0.03  # four standard deviations of 3,000 samples
    if method == "aps":
        assert hit < 0.8 + 0.06  # the likeliest label is added, and little else


@pytest.mark.parametrize("method", METHODS)
def test_a_set_always_has_the_likeliest_label_and_with_an_infinite_threshold_all(method):
    assert label_sets(method, P, HALF, -1.0).tolist() == [[False, True, False]]
    assert label_sets(method, P, HALF, inf).all()


def test_lac_takes_all_labels_of_enough_probability():
    assert label_sets("lac", P, HALF, 0.7).tolist() == [[False, True, True]]


@given(st.integers(0, 10**6), st.floats(0, 1), st.floats(0, 1), st.sampled_from([*METHODS]))
def test_a_larger_threshold_never_loses_a_label(seed, one, other, method):
    generator = torch.Generator().manual_seed(seed)
    p = torch.randn(4, 6, generator=generator, dtype=torch.float64).softmax(-1)
    u = torch.rand(4, generator=generator, dtype=torch.float64)
    small, large = (label_sets(method, p, u, limit) for limit in sorted((one, other)))
    assert not (small & ~large).any()


def test_what_is_refused():
    with pytest.raises(UsageError, match="lac, aps, raps, got 'top'"):
        label_sets("top", P, HALF, 1.0)
    for coverage in (0.0, 1.0, -0.1):
        with pytest.raises(UsageError, match="above 0 and below 1"):
            threshold(torch.ones(3), coverage)
    with pytest.raises(ShapeError, match=r"\(2, 2\)"):
        threshold(torch.ones(2, 2), 0.9)

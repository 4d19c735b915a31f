"""The stratified cut: exact totals, proportions, and no class left empty."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from concord.data.images.images import checked
from concord.data.names import Numbered
from concord.data.splits import cut, imbalance, quotas


@pytest.mark.parametrize(
    ("counts", "total", "expected"),
    [
        ([50, 30, 20], 10, [5, 3, 2]),
        ([5, 3, 2], 5, [3, 1, 1]),  # 2.5, 1.5, 1.0: the one place left goes to the earlier remainder
        ([7, 1], 4, [4, 0]),  # 3.5, 0.5: the class of one keeps its sample
        ([1, 1, 1], 2, [0, 0, 0]),  # nothing can be taken without emptying a class
        ([4, 0, 4], 2, [1, 0, 1]),
        ([9, 9], 0, [0, 0]),
    ],
)
def test_quotas_by_hand(counts, total, expected):
    assert quotas(counts, total) == expected


@given(counts=st.lists(st.integers(0, 50), min_size=1, max_size=8).filter(any), share=st.floats(0, 0.9))
def test_quotas_are_within_one_of_the_proportion(counts, share):
    total = int(share * sum(counts))
    taken = quotas(counts, total)
    assert sum(taken) <= total
    for count, n in zip(counts, taken, strict=True):
        assert 0 <= n <= max(0, count - 1)
        assert abs(n - count * total / sum(counts)) <= 1
    if all(count * total % sum(counts) == 0 for count in counts):
        assert sum(taken) == total


def images(labels):
    pixels = torch.zeros(len(labels), 1, 1, 1, dtype=torch.uint8)
    return checked(pixels, np.array(labels), ("a", "b", "c"), Numbered("x", len(labels)))


def test_a_cut_takes_the_quota_of_each_class_at_random():
    data = images([0] * 10 + [1] * 30 + [2] * 20)
    taken = [cut(data, 12, "test", seed)[1] for seed in range(40)]
    for part in taken:
        assert torch.bincount(data.labels[part]).tolist() == [2, 6, 4]
        assert part.tolist() == sorted(part.tolist())
    assert set(torch.cat(taken).tolist()) == set(range(60))  # in 40 draws each sample comes up


def test_what_stays_and_what_is_taken_are_everything():
    rest, taken = cut(images([0] * 10 + [1] * 30), 8, "test", 0)
    assert sorted([*rest.tolist(), *taken.tolist()]) == list(range(40))


def test_imbalance_does_not_count_empty_classes():
    assert imbalance(images([0] * 9 + [2] * 3)) == 3

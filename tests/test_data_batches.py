"""Batches: what is in them is a pure function of (seed, epoch, step)."""

import numpy as np
import pytest
import torch

from concord.data.batches import Normalise, in_order, order, shuffled, steps_per_epoch
from concord.data.images.augment import Augment
from concord.data.images.images import Images, checked
from concord.data.names import Numbered
from concord.errors import ShapeError, UsageError

RAW = Normalise((0.0,), (1.0,))


@pytest.fixture
def images() -> Images:
    """Ten images; image i has the value 10 i everywhere and the label i % 3."""
    pixels = (torch.arange(10) * 10).to(torch.uint8).reshape(10, 1, 1, 1).expand(10, 1, 4, 4).contiguous()
    return checked(pixels, np.arange(10) % 3, ("a", "b", "c"), Numbered("x", 10))


def numbers(batches) -> list[list[int]]:
    return [(x[:, 0, 0, 0] / 10).int().tolist() for x, _ in batches]


def test_statistics_are_the_exact_ones():
    pixels = torch.tensor([[[[0, 2]], [[7, 7]]], [[[4, 6]], [[7, 7]]]], dtype=torch.uint8)  # (2, 2, 1, 2)
    normalise = Normalise.of(checked(pixels, np.array([0, 1]), ("a", "b"), Numbered("x", 2)))
    assert normalise.mean == (3.0, 7.0)
    assert normalise.std == (5**0.5, 1.0)  # (9 + 1 + 1 + 9) / 4 = 5; a constant channel counts as 1


def test_statistics_of_many_pixels_do_not_drift():
    pixels = torch.full((600, 1, 64, 64), 254, dtype=torch.uint8)
    pixels[:300] = 255  # 2.5 million values; a float32 sum would be off
    normalise = Normalise.of(checked(pixels, np.arange(600) % 2, ("a", "b"), Numbered("x", 600)))
    assert normalise == Normalise((254.5,), (0.5,))


def test_normalised_pixels_by_hand():
    normalise = Normalise((10.0, 100.0), (2.0, 50.0))
    pixels = torch.tensor([[[[12]], [[0]]]], dtype=torch.uint8)
    assert normalise(pixels).flatten().tolist() == [1.0, -2.0]
    assert normalise(pixels).dtype == torch.float32


def test_a_wrong_number_of_channels_is_refused():
    with pytest.raises(ShapeError, match=r"expected \(B, 1, H, W\), got \(2, 3, 4, 4\)"):
        RAW(torch.zeros(2, 3, 4, 4, dtype=torch.uint8))


def test_statistics_of_nothing_are_refused(images):
    with pytest.raises(UsageError, match="at least one image"):
        Normalise.of(images.subset(torch.tensor([], dtype=torch.int64)))


def test_an_epoch_holds_every_sample_once_with_its_label(images):
    batches = list(shuffled(images, RAW, batch_size=4, seed=0, epoch=0))
    assert [len(y) for _, y in batches] == [4, 4, 2]
    flat = [i for batch in numbers(batches) for i in batch]
    assert sorted(flat) == list(range(10))
    assert flat != list(range(10))
    assert torch.cat([y for _, y in batches]).tolist() == [i % 3 for i in flat]


def test_batches_follow_the_order_of_seed_and_epoch(images):
    batches = numbers(shuffled(images, RAW, batch_size=4, seed=3, epoch=5))
    assert [i for batch in batches for i in batch] == order(10, seed=3, epoch=5).tolist()
    orders = {tuple(order(10, seed=s, epoch=e).tolist()) for s in range(5) for e in range(5)}
    assert len(orders) == 25


def test_the_order_stays_what_it_is():
    # Held so that a run saved by one version goes on in the next.
    assert order(8, seed=0, epoch=0).tolist() == [6, 4, 7, 5, 2, 0, 1, 3]


@pytest.mark.parametrize("augment", [None, Augment(flip=True, shift=1, crop=1)])
def test_a_batch_does_not_depend_on_where_iteration_starts(images, augment):
    options = {"batch_size": 4, "seed": 1, "epoch": 2, "augment": augment}
    whole = list(shuffled(images, RAW, **options))
    for start in range(4):
        rest = list(shuffled(images, RAW, start=start, **options))
        assert len(rest) == 3 - start
        for (x, y), (x_whole, y_whole) in zip(rest, whole[start:], strict=True):
            assert torch.equal(x, x_whole)
            assert torch.equal(y, y_whole)


def test_augmentation_is_drawn_for_the_sample_and_not_for_its_place():
    pixels = torch.arange(20 * 9, dtype=torch.uint8).reshape(20, 1, 3, 3)
    images = checked(pixels, np.arange(20) % 2, ("a", "b"), Numbered("x", 20))
    augment = Augment(flip=True, shift=1, crop=1)
    whole = augment(pixels, torch.arange(20), seed=4, epoch=2).float()
    batches = shuffled(images, RAW, batch_size=6, seed=4, epoch=2, augment=augment)
    assert torch.equal(torch.cat([x for x, _ in batches]), whole[order(20, seed=4, epoch=2)])


def test_the_stored_order_is_the_same_in_every_epoch(images):
    for epoch in (0, 7):
        batches = numbers(shuffled(images, RAW, batch_size=4, seed=0, epoch=epoch, shuffle=False))
        assert batches == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]


def test_global_random_state_is_neither_read_nor_moved(images):
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = numbers(shuffled(images, RAW, batch_size=4, seed=0, epoch=0, augment=Augment(flip=True)))
    assert torch.equal(before, torch.get_rng_state())
    torch.manual_seed(2)
    assert numbers(shuffled(images, RAW, batch_size=4, seed=0, epoch=0, augment=Augment(flip=True))) == first


def test_iteration_leaves_the_images_alone(images):
    before = images.pixels.clone()
    for x, _ in shuffled(images, RAW, batch_size=4, seed=0, epoch=0, shuffle=False):
        x.zero_()
    for x, _ in in_order(images, RAW):
        x.zero_()
    assert torch.equal(images.pixels, before)


def test_evaluation_sees_stored_order_and_whole_sets(images):
    assert numbers(in_order(images, RAW, batch_size=4)) == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    assert len(list(in_order(images, RAW))) == 1
    assert list(in_order(images.subset(torch.tensor([], dtype=torch.int64)), RAW)) == []


def test_a_lone_last_sample_joins_the_batch_before_it(images):
    batches = shuffled(images, RAW, batch_size=3, seed=0, epoch=0)
    assert [len(y) for _, y in batches] == [3, 3, 4]  # of 10


@pytest.mark.parametrize(
    ("n", "size", "steps"),
    [(10, 5, 2), (10, 4, 3), (10, 64, 1), (1, 1, 1), (10, 3, 3), (3, 1, 3), (1, 5, 1), (6, 5, 1)],
)
def test_steps_count_the_smaller_last_batch(n, size, steps):
    assert steps_per_epoch(n, size) == steps


@pytest.mark.parametrize(
    "options", [{"batch_size": 0}, {"batch_size": 4, "start": -1}, {"batch_size": 4, "start": 4}]
)
def test_sizes_that_describe_no_epoch_are_refused_at_once(images, options):
    with pytest.raises(UsageError):
        shuffled(images, RAW, seed=0, epoch=0, **options)


def test_no_images_make_no_epoch(images):
    with pytest.raises(UsageError, match="n >= 1"):
        shuffled(images.subset(torch.tensor([], dtype=torch.int64)), RAW, batch_size=4, seed=0, epoch=0)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_batches_on_a_gpu_equal_those_on_the_cpu(images):
    options = {"batch_size": 4, "seed": 0, "epoch": 0, "augment": Augment(flip=True, shift=1, crop=1)}
    there = shuffled(images.to("cuda"), RAW, **options)
    for (x, y), (x_there, y_there) in zip(shuffled(images, RAW, **options), there, strict=True):
        assert torch.equal(x, x_there.cpu())
        assert torch.equal(y, y_there.cpu())

"""Augmentation: what may happen to an image, and that it happens to a sample and not to a batch."""

import pytest
import torch

from concord.data.images.augment import Augment
from concord.errors import ShapeError, UsageError

KEY = {"seed": 0, "epoch": 0}
MANY = torch.arange(400)
IMAGE = torch.arange(1, 10, dtype=torch.uint8).reshape(1, 1, 3, 3)  # 1 2 3 / 4 5 6 / 7 8 9


def many(augment: Augment, image: torch.Tensor = IMAGE) -> torch.Tensor:
    return augment(image.expand(400, -1, -1, -1), MANY, **KEY)


def distinct(images: torch.Tensor) -> set[tuple[int, ...]]:
    return {tuple(image.flatten().tolist()) for image in images}


def test_nothing_is_changed_by_default():
    assert torch.equal(many(Augment()), IMAGE.expand(400, -1, -1, -1))


def test_a_flip_mirrors_about_half_of_the_images():
    flipped = many(Augment(flip=True))
    assert distinct(flipped) == {(1, 2, 3, 4, 5, 6, 7, 8, 9), (3, 2, 1, 6, 5, 4, 9, 8, 7)}
    assert 160 <= int((flipped[:, 0, 0, 0] == 3).sum()) <= 240  # 4 standard deviations around 200


def test_a_shift_repeats_the_edge():
    found = distinct(many(Augment(shift=1)))
    assert len(found) == 9  # three places along each axis
    assert (1, 1, 2, 1, 1, 2, 4, 4, 5) in found  # one down, one to the right
    assert (5, 6, 6, 8, 9, 9, 8, 9, 9) in found  # one up, one to the left
    assert (1, 2, 3, 4, 5, 6, 7, 8, 9) in found


def test_a_crop_brings_in_black():
    found = distinct(many(Augment(crop=1)))
    assert len(found) == 9
    assert (0, 0, 0, 0, 1, 2, 0, 4, 5) in found
    assert (5, 6, 0, 8, 9, 0, 0, 0, 0) in found


def test_a_margin_of_two_reaches_all_25_places():
    assert len(distinct(many(Augment(crop=2)))) == 25


def test_images_need_not_be_square_or_grey():
    image = torch.arange(30, dtype=torch.uint8).reshape(1, 3, 2, 5)
    moved = many(Augment(flip=True, shift=1, crop=1), image)
    assert moved.shape == (400, 3, 2, 5)
    assert moved.dtype == torch.uint8
    same_move = moved[:, 1].int() - moved[:, 0].int()  # all channels of an image move together
    assert set(same_move.flatten().tolist()) <= {0, 10}


def test_what_a_sample_gets_does_not_depend_on_its_batch():
    augment, pixels = (
        Augment(flip=True, shift=2, crop=2),
        torch.randint(256, (20, 3, 8, 8), dtype=torch.uint8),
    )
    numbers = torch.arange(100, 120)
    together = augment(pixels, numbers, seed=4, epoch=9)
    for i in (0, 7, 19):
        assert torch.equal(augment(pixels[i : i + 1], numbers[i : i + 1], seed=4, epoch=9)[0], together[i])
    back = torch.arange(19, -1, -1)
    assert torch.equal(augment(pixels[back], numbers[back], seed=4, epoch=9), together[back])


@pytest.mark.parametrize("other", [{"seed": 1, "epoch": 0}, {"seed": 0, "epoch": 1}])
def test_another_seed_or_epoch_changes_the_draw(other):
    augment, pixels = Augment(flip=True, shift=2), torch.randint(256, (50, 1, 8, 8), dtype=torch.uint8)
    assert not torch.equal(augment(pixels, MANY[:50], **KEY), augment(pixels, MANY[:50], **other))


def test_draws_of_one_sample_are_independent():
    image = torch.zeros(1, 1, 5, 5, dtype=torch.uint8)
    image[0, 0, 2, 2] = 1
    places = many(Augment(crop=1), image).reshape(400, 25).argmax(1)
    down, right = places // 5 - 2, places % 5 - 2
    counts = torch.bincount((down + 1) * 3 + right + 1, minlength=9).float()
    expected = 400 / 9
    assert (
        float(((counts - expected) ** 2 / expected).sum()) < 26.1
    )  # chi-square, 8 degrees of freedom, p = 0.001


def test_negative_pixels_are_refused():
    with pytest.raises(UsageError, match="pixels >= 0, got -1 and 0"):
        Augment(shift=-1)


def test_one_number_per_image_is_needed():
    with pytest.raises(ShapeError, match=r"got \(1, 1, 3, 3\) and \(2,\)"):
        Augment(flip=True)(IMAGE, torch.arange(2), **KEY)

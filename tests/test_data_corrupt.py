"""Corruptions of pictures: each against a formula or another library, and what all of them keep."""

from math import erf, exp, sqrt

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from sklearn.datasets import load_sample_image
from torchvision.io import decode_jpeg, encode_jpeg
from torchvision.transforms import functional as vision

from concord.data.images import corrupt_blur as blur
from concord.data.images import corrupt_noise as noise
from concord.data.images import corrupt_weather as weather
from concord.data.images.corrupt import CORRUPTIONS, FAMILIES, corrupted
from concord.data.images.corrupt_draws import Drawn, Measure
from concord.errors import ShapeError, UsageError


def photo(height, width, count=1, channels=3):
    """Windows of a photograph, as (B, C, H, W)."""
    whole = torch.from_numpy(load_sample_image("flower.jpg").copy()).permute(2, 0, 1)
    if channels == 1:
        whole = vision.rgb_to_grayscale(whole)
    windows = [whole[:, 100 + 20 * i : 292 + 20 * i, 150 : 150 + 192 * width // height] for i in range(count)]
    return torch.stack([vision.resize(w, [height, width], antialias=True) for w in windows])


def flat(value, count=1, channels=1, side=32):
    return torch.full((count, channels, side, side), value, dtype=torch.uint8)


def once(pixels, name, strength, seed=0):
    return corrupted(pixels, name, strength, seed=seed, samples=torch.arange(len(pixels)))


def test_there_are_fifteen_in_four_families():
    assert [len(family) for family in FAMILIES.values()] == [3, 4, 4, 4]
    assert len(CORRUPTIONS) == 15


@pytest.mark.parametrize("name", CORRUPTIONS)
@pytest.mark.parametrize(("side", "channels"), [((28, 28), 1), ((32, 32), 3), ((96, 128), 3)])
def test_a_larger_strength_changes_the_picture_more(name, side, channels):
    pixels = photo(*side, count=4, channels=channels)
    change = [(once(pixels, name, s).float() - pixels).abs().mean().item() for s in range(1, 6)]
    assert change == sorted(change)
    assert 0.1 < change[0] < change[4] < 130


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from([*CORRUPTIONS]),
    st.integers(1, 5),
    st.tuples(st.integers(1, 4), st.integers(1, 70), st.integers(1, 70)),
    st.integers(0, 2**31 - 1),
)
def test_a_picture_of_any_size_is_corrupted_alike_in_every_batch(name, strength, shape, sample):
    generator = torch.Generator().manual_seed(sample)
    pixels = torch.randint(0, 256, (3, *shape), dtype=torch.uint8, generator=generator)
    numbers = torch.tensor([7, sample, 3])
    found = corrupted(pixels, name, strength, seed=1, samples=numbers)
    assert (found.shape, found.dtype) == (pixels.shape, torch.uint8)
    alone = corrupted(pixels[1:2], name, strength, seed=1, samples=numbers[1:2])
    assert torch.equal(found[1:2], alone)


DRAWING = [name for name in CORRUPTIONS if name not in
           ("defocus_blur", "zoom_blur", "brightness", "contrast", "pixelate", "jpeg")]  # fmt: skip


@pytest.mark.parametrize("name", DRAWING)
def test_what_is_drawn_depends_on_seed_and_sample(name):
    pixels = photo(32, 32).repeat(2, 1, 1, 1)
    one = once(pixels, name, 3)
    assert not torch.equal(one[0], one[1])
    assert not torch.equal(one, once(pixels, name, 3, seed=1))


def test_gaussian_noise_has_its_deviation_and_is_cut_at_black():
    grey = once(flat(128, 40), "gaussian_noise", 3).double() / 255
    assert grey.std().item() == pytest.approx(0.08, rel=0.02)
    assert grey.mean().item() == pytest.approx(128 / 255, abs=1e-3)
    black = once(flat(0, 40), "gaussian_noise", 5).double() / 255
    assert black.mean().item() == pytest.approx(0.1 / sqrt(2 * np.pi), rel=0.02)  # E max(0, s n)


def test_shot_noise_has_mean_and_variance_of_counted_photons():
    value, photons = 102, 50
    counts = once(flat(value, 40), "shot_noise", 5).double() / 255 * photons
    assert counts.mean().item() == pytest.approx(photons * value / 255, rel=0.01)  # 20 photons
    assert counts.var().item() == pytest.approx(photons * value / 255, rel=0.03)
    assert (counts - counts.round()).abs().max() < 0.11  # whole numbers, but for the rounding to uint8
    assert torch.equal(once(flat(0), "shot_noise", 5), flat(0))


def test_a_table_of_poisson_quantiles_gives_every_count_its_probability():
    drawn = Drawn(3, torch.arange(60), "test")
    x = torch.full((60, 1, 32, 32), 51 / 255)
    found = noise.shot_noise(x, 5, Measure(small=False, factor=1), drawn) * 3  # mean 0.6 photons
    for k, expected in ((0, exp(-0.6)), (1, 0.6 * exp(-0.6)), (2, 0.18 * exp(-0.6))):
        assert (found.round() == k).double().mean().item() == pytest.approx(expected, abs=0.01)


def test_impulse_noise_makes_a_part_of_the_values_black_or_white():
    found = once(flat(100, 60, channels=3), "impulse_noise", 5)
    assert (found == 0).double().mean().item() == pytest.approx(0.035, rel=0.05)
    assert (found == 255).double().mean().item() == pytest.approx(0.035, rel=0.05)
    assert ((found == 100) | (found == 0) | (found == 255)).all()


@pytest.mark.parametrize("deviation", [0.4, 1.3, 2.5])
def test_the_gaussian_is_that_of_scipy(deviation):
    x = photo(32, 40).float() / 255
    expected = ndimage.gaussian_filter(x.numpy(), (0, 0, deviation, deviation), mode="nearest")
    np.testing.assert_allclose(blur.gaussian_blur(x, deviation), expected, atol=1e-5)


def test_a_convolution_is_that_of_scipy():
    x, weights = photo(20, 24).float(), torch.rand(3, 5, generator=torch.Generator().manual_seed(0))
    expected = ndimage.correlate(x.numpy(), weights.numpy()[None, None], mode="nearest")
    np.testing.assert_allclose(blur.convolved(x, weights), expected, rtol=1e-5)


def test_a_disc_has_the_area_and_the_spread_of_a_disc():
    weights = blur.disc(10, 0.1).double()
    line = torch.arange(-11, 12.0).double()
    assert weights.sum().item() == pytest.approx(1)
    assert (weights > 0.5 * weights.max()).sum().item() == pytest.approx(np.pi * 100, rel=0.02)
    assert (weights.sum(0) * line**2).sum().item() == pytest.approx(
        100 / 4, rel=0.03
    )  # r^2 / 4 along an axis
    smooth = blur.disc(0.3, 0.4)  # one pixel, smoothed
    side = exp(-1 / (2 * 0.16))
    assert smooth[2, 2].item() == pytest.approx(1 / (1 + 2 * side) ** 2, rel=1e-5)


def test_motion_by_hand_and_along_its_angle():
    x = torch.zeros(1, 1, 1, 9)
    x[..., 6] = 1
    found = blur.moved(x, torch.zeros(1), 1, 1.0)[0, 0, 0]
    total = 1 + exp(-0.5) + exp(-2)  # steps 0, 1 and 2
    expected = [0, 0, 0, 0, exp(-2) / total, exp(-0.5) / total, 1 / total, 0, 0]
    assert found.tolist() == pytest.approx(expected, abs=1e-6)
    down = blur.moved(x.transpose(2, 3), torch.tensor([np.pi / 2]), 1, 1.0)[0, 0, :, 0]
    assert down.tolist() == pytest.approx(expected, abs=1e-6)


def test_glass_takes_values_from_near_by_and_makes_no_new_ones():
    column = torch.arange(32.0).view(1, 1, 1, 32).expand(1, 1, 32, 32) / 255
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(blur, "gaussian_blur", lambda x, deviation: x)
        moved = blur.glass_blur(column, 3, Measure.of(32, 32), Drawn(0, torch.arange(1), "glass"))
    apart = ((moved - column) * 255).round()
    assert apart.abs().max() == 1
    assert (apart != 0).double().mean().item() == pytest.approx(0.8 * 2 / 3, abs=0.05)


def test_zoom_is_the_mean_of_enlargements_that_torchvision_makes():
    x = photo(64, 64).float() / 255
    found = blur.zoom_blur(x, 1, Measure.of(64, 64), Drawn(0, torch.arange(1), "zoom"))
    layers = [
        vision.affine(x, 0, [0, 0], 1 + 0.01 * i, [0.0], vision.InterpolationMode.BILINEAR) for i in range(6)
    ]
    expected = (x + sum(layers)) / 7
    inside = (slice(None), slice(None), slice(2, -2), slice(2, -2))  # torchvision fills the border
    np.testing.assert_allclose(found[inside], expected[inside], atol=1e-4)


def test_fog_keeps_the_brightest_value_in_its_bounds():
    x = photo(32, 32, 3).float() / 255
    drawn = Drawn(0, torch.arange(3), "fog")
    found, mist = weather.fog(x, 3, Measure.of(32, 32), drawn), weather.clouds(drawn, 32, 32, 2.5)
    most = x.amax((1, 2, 3), keepdim=True)
    torch.testing.assert_close(found * (most + 0.75) / most - 0.75 * mist, x)
    assert found.max() <= most.max()
    assert (mist.amin((1, 2, 3)).tolist(), mist.amax((1, 2, 3)).tolist()) == ([0] * 3, [1] * 3)


def test_brightness_raises_the_value_of_hsv_alone():
    pixels = photo(32, 32)
    found = once(pixels, "brightness", 2)
    import colorsys

    for place in ((3, 4), (20, 11), (30, 30)):
        before, after = (
            colorsys.rgb_to_hsv(*(p[0, :, place[0], place[1]].double() / 255).tolist())
            for p in (pixels, found)
        )
        assert after[2] == pytest.approx(min(1, before[2] + 0.1), abs=0.003)
        assert after[:2] == pytest.approx(before[:2], abs=0.02)
    assert torch.equal(once(flat(10), "brightness", 1), flat(23))  # 10 + 0.05 x 255 = 22.75
    assert torch.equal(once(flat(0, channels=3), "brightness", 1), flat(13, channels=3))


def test_contrast_is_that_of_torchvision_about_the_mean_of_a_grey_picture():
    pixels = photo(32, 32, channels=1).float() / 255
    expected = vision.adjust_contrast(pixels, 0.4)
    np.testing.assert_allclose(once((pixels * 255).byte(), "contrast", 3) / 255, expected, atol=0.004)


def test_snow_brightens_and_frost_adds_at_most_its_amount():
    pixels = photo(32, 32, 3)
    for strength in (1, 5):
        assert once(pixels, "snow", strength).float().mean() > pixels.float().mean() + 5
    frozen = once(flat(0, 5), "frost", 2).double() / 255
    assert 0.25 < frozen.max() <= 0.3 + 0.002
    coloured = once(flat(0, 5, channels=3), "frost", 2).double().mean((0, 2, 3))
    assert coloured.tolist() == sorted(coloured.tolist())  # ice is bluish


def test_elastic_moves_places_by_the_stated_deviation():
    """Of a picture whose values are its columns the change is the displacement along them."""
    columns = (torch.arange(64.0) / 255).view(1, 1, 1, 64).expand(200, 1, 64, 64)
    change = CORRUPTIONS["elastic"]
    found = change(columns, 3, Measure.of(64, 64), Drawn(0, torch.arange(200), "elastic"))
    apart = ((found - columns) * 255)[..., 16:48, 16:48]
    spread = (apart - apart.mean((1, 2, 3), keepdim=True)).std().item()
    field = 0.02 * 64
    affine = 0.04 * 64 / sqrt(3)  # deviation of a point that moves by at most that much
    assert field * 0.8 < spread < sqrt(field**2 + affine**2) * 1.2


def test_pixelate_by_half_gives_the_means_of_blocks():
    pixels = photo(128, 128)
    found = once(pixels, "pixelate", 2)  # 0.5 of large pictures
    blocks = torch.nn.functional.avg_pool2d(pixels.float(), 2).repeat_interleave(2, 2).repeat_interleave(2, 3)
    assert (found - blocks).abs().max() <= 1  # Pillow rounds after rows and after columns


@pytest.mark.parametrize(("strength", "quality"), [(1, 80), (5, 40)])
def test_jpeg_is_that_of_torchvision_at_the_same_quality(strength, quality):
    pixels = photo(64, 64)
    expected = decode_jpeg(encode_jpeg(pixels[0], quality))
    apart = (once(pixels, "jpeg", strength)[0].float() - expected.float()).abs()
    assert apart.mean() < 0.5


def test_lengths_grow_with_the_picture():
    assert Measure.of(8, 8) == Measure.of(32, 32) == Measure(small=True, factor=1)
    assert Measure.of(64, 90) == Measure(small=True, factor=2)
    assert Measure.of(224, 300) == Measure(small=False, factor=1)
    assert Measure.of(112, 112) == Measure(small=False, factor=0.5)


def test_normal_draws_have_the_distribution_function_of_the_normal():
    found = Drawn(5, torch.arange(100), "x").normal("n", 2000).flatten().double()
    for limit in (-1.5, 0.0, 0.7, 2.0):
        expected = (1 + erf(limit / sqrt(2))) / 2
        assert (found < limit).double().mean().item() == pytest.approx(expected, abs=0.004)


def test_what_is_refused():
    with pytest.raises(UsageError, match="'rain'"):
        once(flat(1), "rain", 1)
    for strength in (0, 6, 1.5):
        with pytest.raises(UsageError, match="from 1 to 5"):
            once(flat(1), "fog", strength)
    with pytest.raises(ShapeError, match=r"torch\.float32"):
        once(flat(1).float(), "fog", 1)
    with pytest.raises(UsageError, match="numbers of samples"):
        corrupted(flat(1), "fog", 1, seed=0, samples=torch.tensor([-1]))
    assert once(flat(1)[:0], "fog", 1).shape == (0, 1, 32, 32)

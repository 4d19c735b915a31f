"""Images without labels: noise, an IDX file, files of any kind."""

import gzip

import numpy as np
import pytest
import torch
from data_made import idx_bytes, noisy, write_image

import concord
from concord.data.images.images import Images, checked
from concord.data.images.unlabelled import unlabelled
from concord.data.load import load
from concord.data.names import Numbered
from concord.errors import DataError, UsageError


def like(n: int = 6, channels: int = 1, height: int = 4, width: int = 4) -> Images:
    pixels = torch.zeros(n, channels, height, width, dtype=torch.uint8)
    return checked(pixels, np.arange(n) % 2, ("a", "b"), Numbered("x", n))


def test_noise_has_the_shape_asked_for_and_every_value_equally_often():
    noise = unlabelled("noise", like(100, 3, 15, 17), 0)
    assert noise.shape == (100, 3, 15, 17)
    assert noise.dtype == torch.uint8
    counts = torch.bincount(noise.flatten(), minlength=256).float()
    expected = noise.numel() / 256
    assert (
        float(((counts - expected) ** 2 / expected).sum()) < 331
    )  # chi-square, 255 degrees of freedom, p = 0.001


def test_noise_is_a_function_of_its_seed():
    first, again, other = (unlabelled("noise", like(), seed) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_pixels_of_an_idx_file_are_read_without_labels(tmp_path):
    values = noisy(3)
    (tmp_path / "x-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx_bytes(values)))
    source = str(tmp_path / "x-images-idx3-ubyte.gz")
    assert unlabelled(source, like(), 0)[:, 0].tolist() == values.tolist()
    assert unlabelled(source, like(channels=3), 0).shape == (3, 3, 4, 4)
    assert unlabelled(source, like(height=8, width=6), 0).shape == (3, 1, 8, 6)


def test_images_of_a_nested_folder_take_the_form_of_the_labelled_ones(tmp_path):
    write_image(tmp_path / "a.png", (200, 200, 200), mode="RGB", size=(30, 20))
    write_image(tmp_path / "deep" / "b.png", 100)
    found = unlabelled(str(tmp_path), like(height=6, width=9), 0)
    assert found.shape == (2, 1, 6, 9)
    assert [image.unique().tolist() for image in found] == [[200], [100]]
    assert unlabelled(str(tmp_path / "*.png"), like(channels=3), 0).shape == (1, 3, 4, 4)


def test_bad_files_are_all_named(tmp_path):
    write_image(tmp_path / "good.png")
    for name in ("bad1.png", "bad2.png"):
        (tmp_path / name).write_bytes(b"x")
    with pytest.raises(DataError, match=r"(?s)2 of the images .* bad1\.png: is not an image.* bad2\.png"):
        unlabelled(str(tmp_path), like(), 0)


def test_a_path_with_nothing_is_refused(tmp_path):
    with pytest.raises(DataError, match="holds no image"):
        unlabelled(str(tmp_path), like(), 0)


def test_other_channels_than_grey_and_colour_are_refused(tmp_path):
    with pytest.raises(UsageError, match="1 or 3 channels, these members take 2"):
        unlabelled(str(tmp_path), like(channels=2), 0)


def test_the_rest_is_what_the_limit_leaves_out():
    whole, few = load("digits"), load("digits", limit=150, rest=True)
    assert few.rest is not None
    assert sorted([*few.train.names, *few.rest.names]) == sorted(whole.train.names)
    assert few.fingerprint == load("digits", limit=150).fingerprint
    assert load("digits", limit=150).rest is None


def test_without_a_limit_there_is_no_rest_to_agree_on(tmp_path):
    settings = {
        "members": [{"name": "a", "network": "noel2017_st(filters=2)"}],
        "unlabelled": {"source": "rest"},
    }
    with pytest.raises(UsageError, match=r"data.limit leaves out, and none are left out: set a smaller"):
        concord.train(settings, tmp_path / "run")

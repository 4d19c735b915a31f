"""``concord eval --against``: separation of other data, how their images are converted, what is refused."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from run_made import MEMBERS, call
from sklearn.datasets import load_digits
from sklearn.metrics import roc_auc_score

import concord
from concord.data.images.colour import as_channels
from concord.errors import DataError, UsageError
from concord.runs.loading import load_run, same_data


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    path = tmp_path_factory.mktemp("against") / "run"
    train = {"epochs": 3, "batch_size": 32, "threads": 1, "precision": "float32"}
    concord.train({"members": MEMBERS, "data": {"limit": 600}, "train": train}, path)
    return path


@pytest.fixture(scope="module")
def noise(tmp_path_factory):
    """Colour noise of 16x16 of two classes, with a test part of 40."""
    numbers = np.random.default_rng(0)
    path = tmp_path_factory.mktemp("noise") / "noise.npz"
    x = numbers.integers(0, 256, (100, 16, 16, 3), dtype=np.uint8)
    np.savez(path, x_train=x[:60], y_train=np.arange(60) % 2, x_test=x[60:], y_test=np.arange(40) % 2)
    return path


def converted(path):
    """The test part of the noise as Pillow converts and scales it to 8x8 grey."""
    with np.load(path) as arrays:
        images = [Image.fromarray(x).resize((8, 8), Image.Resampling.BILINEAR) for x in arrays["x_test"]]
    return torch.from_numpy(np.stack([np.asarray(image.convert("L")) for image in images]))[:, None]


def test_figures_are_those_of_the_probabilities_for_converted_images(run, noise):
    (found,) = concord.evaluate(run, against=str(noise)).against
    assert found.samples == 40
    loaded = load_run(run)
    test = same_data(loaded, None)[0].test
    for member in ("ST", "ensemble"):
        own, other = (
            loaded.probabilities(pixels, member).max(-1).values for pixels in (test.pixels, converted(noise))
        )
        expected = roc_auc_score([1] * len(own) + [0] * len(other), torch.cat([own, other]))
        row = found.ensemble if member == "ensemble" else found.members[member]
        assert row["max_probability"].auroc == pytest.approx(expected, abs=1e-3)


def test_the_ensemble_alone_has_mutual_information(run, noise):
    (found,) = concord.evaluate(run, against=[str(noise)]).against
    assert "mutual_information" in found.ensemble
    assert all("mutual_information" not in row for row in found.members.values())


def test_other_data_without_a_test_part_are_used_whole(run, tmp_path):
    images, labels = load_digits(return_X_y=True)
    pixels = 255 - (images.reshape(-1, 8, 8) * 255 // 16).astype(np.uint8)[:200]
    np.savez(tmp_path / "x.npz", x_train=pixels, y_train=labels[:200])
    (found,) = concord.evaluate(run, against=str(tmp_path / "x.npz")).against
    assert found.samples == 200


def test_the_command_prints_a_table_for_each_of_the_other_data(run, noise, capsys):
    status, out, _ = call(capsys, "eval", run, "--against", noise, "--against", noise)
    assert status == 0
    assert out.count("Own test images against 40 images") == 2
    status, out, _ = call(capsys, "eval", run, "--against", noise, "--json")
    (row,) = json.loads(out)["against"]
    assert row["data"] == str(noise)
    assert set(row["ensemble"]["energy"]) == {"auroc", "aupr", "fpr95"}
    assert concord.evaluate(run).to_dict()["against"] == []


def test_grey_is_that_of_pillow_and_colour_repeats_grey():
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (5, 3, 7, 9), dtype=torch.uint8, generator=generator)
    pillow = [np.asarray(Image.fromarray(p.permute(1, 2, 0).numpy()).convert("L")) for p in pixels]
    assert np.array_equal(as_channels(pixels, 1)[:, 0], np.stack(pillow))
    grey = pixels[:, :1]
    assert torch.equal(as_channels(grey, 3), grey.repeat(1, 3, 1, 1))
    with pytest.raises(DataError, match="of 2 channels cannot be converted to 3"):
        as_channels(pixels[:, :2], 3)


def test_the_data_of_the_run_and_data_that_are_not_there_are_refused(run, tmp_path):
    with pytest.raises(UsageError, match="name other data"):
        concord.evaluate(run, against="digits")
    with pytest.raises(DataError):
        concord.evaluate(run, against=str(tmp_path / "nothing"))


def test_data_that_are_not_there_are_named_before_anything_is_predicted(run, tmp_path, monkeypatch):
    def predicted(*given, **options):
        raise AssertionError("images were predicted")

    monkeypatch.setattr("concord.runs.evaluate.logits_on_test", predicted)
    with pytest.raises(DataError, match="nothing"):
        concord.evaluate(run, against=[str(tmp_path / "nothing")])

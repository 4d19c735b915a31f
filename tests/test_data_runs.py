"""Whole trainings on pictures: weights do not depend on where pixels are, nor on workers, nor on a stop."""

import json
import multiprocessing
import subprocess
import sys

import numpy as np
import pytest
from data_made import noisy
from PIL import Image

import concord
from concord.data.images import decode, pictures
from concord.errors import DataError, StoppedError, UsageError
from concord.training.observer import Silent

WAYS = [(keep, workers) for keep in ("memory", "disk", "decode") for workers in (0, 1, 2)]
CHANGES = {"flip": True, "crop": 2, "resized_crop": 0.5, "policy": "trivial", "erasing": 0.3}


def make(root, count, side=16):
    for i, pixels in enumerate(noisy(3 * count, side, side).reshape(count, side, side, 3)):
        place = root / "abc"[i % 3]
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(place / f"{i:05}.{'png' if i % 2 else 'jpg'}")
    return root


def tables(root, keep, workers, augment=None, epochs=2):
    return {
        "members": [{"name": n, "network": f"noel2017_st(filters={k})"} for n, k in (("a", 2), ("b", 3))],
        "consensus": {"cost": "l2", "weight": 0.01},
        "data": {"source": str(root), "keep": keep, "workers": workers},
        "augment": augment or {},
        "train": {"epochs": epochs, "batch_size": 16, "threads": 1, "device": "cpu", "precision": "float32"},
    }


def weights(run):
    last = sorted((run / "ckpt").iterdir())[-1]
    files = {file.name: file.read_bytes() for file in last.glob("*.safetensors")}
    assert files
    return last.name, files


@pytest.fixture
def left_over():
    """Which processes there are that the test has started: joblib keeps those of other tests for a while."""
    before = {child.pid for child in multiprocessing.active_children()}
    return lambda: [child for child in multiprocessing.active_children() if child.pid not in before]


@pytest.fixture(autouse=True)
def caches(tmp_path, monkeypatch):
    monkeypatch.setenv("CONCORD_CACHE", str(tmp_path / "caches"))


@pytest.mark.fault(29)
@pytest.mark.parametrize("exact", [True, False])
def test_weights_are_the_same_bit_for_bit(exact, tmp_path, monkeypatch, left_over):
    if not exact:
        monkeypatch.setattr(pictures, "MOST_EXACT", 0)
    root = make(tmp_path / "set", 200)
    ways = [("memory", 0), ("disk", 1), ("decode", 0), ("decode", 2)]
    found = []
    for keep, workers in ways:
        run = tmp_path / f"{keep}{workers}"
        concord.train(tables(root, keep, workers, CHANGES, epochs=1), run)
        found.append((weights(run), json.loads((run / "result.json").read_text())["fingerprint"]))
    assert all(one == found[0] for one in found)
    assert left_over() == []


@pytest.mark.soak
def test_weights_of_2000_pictures_are_the_same_bit_for_bit(tmp_path):
    root = make(tmp_path / "set", 2000, 32)
    found = []
    for keep, workers in WAYS:
        run = tmp_path / f"{keep}{workers}"
        concord.train(tables(root, keep, workers, CHANGES), run)
        found.append(weights(run))
    assert all(one == found[0] for one in found)


class Counting(Silent):
    """Counts updates, so that a training can be stopped within an epoch."""

    def __init__(self, most):
        self.seen, self.most = 0, most

    def update(self, step):
        self.seen += 1

    def enough(self):
        return self.seen >= self.most


def test_a_stop_within_an_epoch_and_a_resume_with_other_workers_change_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(pictures, "MOST_EXACT", 0)
    root = make(tmp_path / "set", 120)  # 6 updates in an epoch
    concord.train(tables(root, "decode", 2, CHANGES), tmp_path / "whole")
    run, counting = tmp_path / "parts", Counting(2)
    with pytest.raises(StoppedError):
        concord.train(tables(root, "decode", 2, CHANGES), run, observer=counting, stop=counting.enough)
    for most, settings in ((3, ["data.workers=1"]), (2, ["data.keep=disk", "data.workers=0"])):
        counting = Counting(most)
        with pytest.raises(StoppedError):
            concord.resume(run, settings=settings, observer=counting, stop=counting.enough)
    concord.resume(run)
    assert weights(run)[1] == weights(tmp_path / "whole")[1]


class Remover(Silent):
    """Takes a picture away when the first epoch ends."""

    def __init__(self, path):
        self.path = path

    def epoch(self, row):
        self.path.unlink(missing_ok=True)


def test_a_picture_that_vanishes_between_epochs_ends_the_training_with_its_name(
    tmp_path, monkeypatch, left_over
):
    monkeypatch.setattr(pictures, "MOST_EXACT", 0)
    root = make(tmp_path / "set", 60)
    every = tables(root, "decode", 1, epochs=3)
    every["data"] |= {"valid": 0.0, "test": 0.05}
    remover = Remover(root / "a" / "00000.jpg")
    with pytest.raises(DataError, match=r"a/00000\.jpg does not exist"):
        concord.train(every, tmp_path / "run", observer=remover)
    assert left_over() == []


def test_mixed_labels_reach_the_batches(tmp_path):
    from concord.runs import assemble, toml
    from concord.runs.feeds import make_feed
    from concord.runs.interface import Interface

    root = make(tmp_path / "set", 60)
    config = toml.parse(tables(root, "memory", 0, {"mixup": 0.4}))
    splits = assemble.load_data(config)
    feed = make_feed(config, splits, Interface.of(splits))
    first, again = (list(feed.train(1, start)) for start in (0, 1))
    assert first[0].targets[0].shape == (16, 3)
    np.testing.assert_allclose(first[0].targets[0].sum(1), 1, rtol=1e-6)
    assert again[0].targets[0].equal(first[1].targets[0])
    assert next(iter(feed.test()))[1].ndim == 1


MEMORY = """
import resource, sys
from concord.data.load import load
from concord.data.batches import Normalise, shuffled
import torchvision.transforms.v2, PIL.Image
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
splits = load(sys.argv[1], keep=sys.argv[2])
normalise = Normalise.of(splits.train)
for x, y in shuffled(splits.train, normalise, batch_size=32, seed=0, epoch=0):
    pass
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024)
"""


def test_memory_is_bounded_and_pixels_are_held_once(tmp_path, monkeypatch):
    """Of 2,400 pictures of 224x224 pixels take 361 MB: once in memory, a small part of it otherwise."""
    numbers = np.random.default_rng(0).integers(0, 256, (8, 28, 28, 3), dtype=np.uint8)
    for i in range(2400):
        path = tmp_path / "set" / "ab"[i % 2] / f"{i}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        if i < 8:
            Image.fromarray(numbers[i]).resize((224, 224)).save(path)
        else:
            path.hardlink_to(tmp_path / "set" / "ab"[i % 2] / f"{i % 8}.jpg")
    whole = 2400 * 3 * 224 * 224
    taken = {}
    for keep in ("memory", "decode", "disk"):
        script = [sys.executable, "-c", MEMORY, str(tmp_path / "set"), keep]
        taken[keep] = int(subprocess.run(script, capture_output=True, text=True, check=True).stdout)
    assert taken["memory"] < 1.4 * whole
    assert taken["decode"] < 0.5 * whole
    assert taken["disk"] < 0.8 * whole


@pytest.mark.parametrize("settings", [{}, {"limit": 30}, {"bad_images": "skip"}])
def test_a_network_of_another_size_is_refused_before_any_image_is_decoded(settings, tmp_path, monkeypatch):
    def unwanted(*_):
        raise AssertionError("an image was decoded")

    monkeypatch.setattr(decode, "image", unwanted)
    wanted = tables(make(tmp_path / "set", 60, side=40), "auto", 0)
    wanted["data"] |= settings
    wanted["members"] = [{"name": "a", "network": "lenet5"}]
    with pytest.raises(UsageError, match="member a"):
        concord.train(wanted, tmp_path / "r")
    assert not (tmp_path / "r").exists()


def test_with_a_limit_only_what_is_used_is_decoded(tmp_path, monkeypatch):
    seen, decoded = [], decode.image
    monkeypatch.setattr(decode, "image", lambda path, *rest: (seen.append(path), decoded(path, *rest))[1])
    splits = concord.load_data(make(tmp_path / "set", 100), limit=20)
    assert len(splits.train) == 20
    assert len(seen) == len(set(seen)) == 20 + len(splits.valid) + len(splits.test)
    assert len(seen) < 60


def test_bad_images_of_data_to_score_on_are_refused_with_advice_that_can_be_followed(tmp_path):
    concord.train(tables(make(tmp_path / "set", 60), "auto", 0, epochs=1), tmp_path / "r")
    other = make(tmp_path / "other", 60)
    (other / "a" / "broken.png").write_bytes(b"no image")
    with pytest.raises(
        DataError, match=r"(?s)a/broken.png.*Remove or replace them; .concord data check"
    ) as refused:
        concord.evaluate(tmp_path / "r", data=str(other))
    assert "--set" not in str(refused.value)

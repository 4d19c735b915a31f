"""Where pixels are kept changes nothing that members see; faults of caches and files are answered."""

import errno
import json
import os
import pickle
import shutil

import numpy as np
import pytest
import torch
from data_made import noisy
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from concord.data import memory
from concord.data.batches import Normalise, shuffled
from concord.data.images import cache, pictures
from concord.data.images.augment import Augment
from concord.data.images.images import Images
from concord.data.images.stores import InFiles, InMemory
from concord.data.load import load
from concord.errors import DataError, ResourceError, StoppedError, UsageError

WAYS = ("memory", "disk", "decode")


@pytest.fixture(autouse=True)
def caches(tmp_path, monkeypatch):
    monkeypatch.setenv("CONCORD_CACHE", str(tmp_path / "caches"))
    return tmp_path / "caches"


@pytest.fixture
def folder(tmp_path):
    """Sixty pictures of three classes, in colour, of different sizes."""
    for i, grey in enumerate(noisy(60, 9, 12)):
        place = tmp_path / "set" / "abc"[i % 3]
        place.mkdir(parents=True, exist_ok=True)
        image = Image.fromarray(np.stack([grey, grey.T.reshape(9, 12), 255 - grey], 2))
        image.resize((12 + i % 4, 9)).save(place / f"{i:02}.{'png' if i % 2 else 'jpg'}")
    return tmp_path / "set"


@pytest.fixture
def large(monkeypatch):
    """Every set of files counts as too large to look at all of its pixels."""
    monkeypatch.setattr(pictures, "MOST_EXACT", 0)


def content(splits):
    parts = (splits.train, splits.valid, splits.test)
    return [
        (part.pixels.tolist(), part.labels.tolist(), list(part.names), part.fingerprint) for part in parts
    ] + [splits.fingerprint, Normalise.of(splits.train)]


@pytest.mark.parametrize(
    "options",
    [{}, {"limit": 20}, {"drop_duplicates": True, "bad_images": "skip"}, {"valid": 0.0, "joint": True}],
    ids=str,
)
@pytest.mark.parametrize("exact", [True, False])
def test_splits_fingerprint_and_statistics_are_the_same_wherever_pixels_are(
    options, exact, folder, monkeypatch
):
    if not exact:
        monkeypatch.setattr(pictures, "MOST_EXACT", 0)
    (folder / "a" / "cut.png").write_bytes((folder / "b" / "01.png").read_bytes()[:100] + b"x")
    if options.get("bad_images") != "skip":
        (folder / "a" / "cut.png").unlink()
    found = [content(load(str(folder), size=8, keep=keep, **options)) for keep in WAYS]
    assert found[1] == found[0]
    assert found[2] == found[0]


def test_the_fingerprint_of_pixels_is_that_of_earlier_versions(folder):
    """A run folder that exists must be resumed: the rule, written down once more."""
    import hashlib

    splits = load(str(folder), size=8)
    whole = hashlib.sha256()
    for part in (splits.train, splits.valid, splits.test):
        digest = hashlib.sha256(json.dumps([list(part.pixels.shape), list(part.classes)]).encode())
        digest.update(part.labels.numpy().tobytes() + part.pixels.contiguous().numpy().tobytes())
        whole.update(digest.hexdigest().encode())
    assert splits.fingerprint == whole.hexdigest()


def test_parts_are_views_of_one_store(folder):
    splits = load(str(folder), size=8)
    assert splits.train.store is splits.valid.store is splits.test.store


def test_a_limit_decodes_only_what_is_used(folder, monkeypatch):
    decoded = []
    whole = pictures.decode.image
    monkeypatch.setattr(
        pictures.decode, "image", lambda path, *rest: decoded.append(path) or whole(path, *rest)
    )
    splits = load(str(folder), size=8, limit=6, valid=0.1, test=0.1)
    assert len(decoded) == len(splits.train) + len(splits.valid) + len(splits.test) < 60


@pytest.mark.parametrize("keep", WAYS)
@settings(max_examples=15, deadline=None)
@given(index=st.lists(st.integers(0, 30), min_size=1, max_size=9), seed=st.integers(0, 99))
def test_any_samples_in_any_order_are_those_in_memory(keep, index, seed, tmp_path_factory):
    folder = tmp_path_factory.getbasetemp() / "any"
    if not folder.exists():
        for i, pixels in enumerate(noisy(60, 6, 7)):
            (folder / "ab"[i % 2]).mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(folder / "ab"[i % 2] / f"{i}.png")
    from concord.data.dataset import Draw

    rows = torch.tensor(index)
    train = load(str(folder), keep=keep).train
    oracle = load(str(folder), keep="memory").train.pixels[rows]
    x, y = train.batch(rows, None)
    assert torch.equal(x, oracle)
    assert y.tolist() == train.labels[rows].tolist()
    augment = Augment(flip=True, crop=1, resized_crop=0.3, erasing=0.5)
    changed = Images(train.store, train.labels, train.classes, train.names, train.rows, augment)
    expected = augment(oracle, rows, seed=seed, epoch=2)
    assert torch.equal(changed.batch(rows, Draw(seed, 2))[0], expected)


def test_auto_goes_by_what_is_free(folder, monkeypatch):
    need = 60 * 3 * 8 * 8
    kinds = {}
    for free in (2 * need, 2 * need - 2):
        monkeypatch.setattr(memory, "available", lambda free=free: free)
        splits = load(str(folder), size=8)
        kinds[free] = type(splits.train.store).__name__
        assert any("kept in a cache on disk" in n for n in splits.notices) == (free < 2 * need)
    assert list(kinds.values()) == ["InMemory", "OnDisk"]
    monkeypatch.setattr("concord.data.images.keep._free", lambda path: cache.ROOM)
    shutil.rmtree(cache.home())
    monkeypatch.setattr(pictures, "MOST_EXACT", 0)
    splits = load(str(folder), size=8)
    assert isinstance(splits.train.store, InFiles)
    assert any("decoded while they are used" in n for n in splits.notices)
    assert splits.workers == len(os.sched_getaffinity(0))


def test_unknown_ways_and_numbers_of_workers_are_refused(folder):
    with pytest.raises(UsageError, match=r"data\.keep must be one of auto, memory, disk, decode, got 'ram'"):
        load(str(folder), keep="ram")
    with pytest.raises(UsageError, match=r"data\.workers must be 0 to 256, got -1"):
        load(str(folder), workers=-1)


# the cache


def built(folder, **options):
    return load(str(folder), size=8, keep="disk", **options)


def decodings(monkeypatch):
    count = []
    whole = pictures.decode.image
    monkeypatch.setattr(pictures.decode, "image", lambda *given: count.append(1) or whole(*given))
    return count


def test_a_cache_is_made_once_and_found_again(folder, caches, monkeypatch):
    first = built(folder)
    assert any(str(caches) in notice and "is made" in notice for notice in first.notices)
    count = decodings(monkeypatch)
    assert content(built(folder)) == content(first)
    assert count == []
    assert [p.name for p in (caches / "pixels").iterdir()] == [cache.place(first.train.store.files).name]


@pytest.mark.parametrize("fault", ["cut", "checks", "about", "foreign", "no file", "lie"])
def test_a_damaged_or_foreign_cache_is_made_again(fault, folder, caches):
    first = content(built(folder))
    place = next((caches / "pixels").iterdir())
    if fault == "cut":
        os.truncate(place / cache.PIXELS, 100)
    elif fault == "checks":
        (place / cache.CHECKS).write_bytes(bytes(240))
    elif fault == "about":
        (place / cache.ABOUT).write_text("{")
    elif fault == "foreign":
        (place / cache.ABOUT).write_text(json.dumps({"version": 99, "checks": 0, "bad": {}}))
    elif fault == "no file":
        (place / cache.PIXELS).unlink()
    else:
        (place / cache.ABOUT).write_text(json.dumps({"version": 2, "checks": 0, "bad": []}))
    again = built(folder)
    assert content(again) == first
    assert any("was damaged and is made again" in notice for notice in again.notices)


def test_a_damaged_image_in_a_cache_is_decoded_from_its_file(folder, caches):
    first = content(built(folder))
    file = next((caches / "pixels").iterdir()) / cache.PIXELS
    values = bytearray(file.read_bytes())
    values[5 * 192 + 7] ^= 1
    file.write_bytes(values)
    assert content(built(folder)) == first


def test_a_cache_that_is_cut_or_removed_while_it_is_in_use_changes_nothing(folder, caches):
    splits = built(folder)
    oracle = load(str(folder), size=8, keep="memory").train
    index = torch.arange(len(oracle))
    os.truncate(next((caches / "pixels").iterdir()) / cache.PIXELS, 1000)
    assert torch.equal(splits.train.batch(index, None)[0], oracle.pixels)
    again = pickle.loads(pickle.dumps(splits.train))
    shutil.rmtree(caches)
    assert torch.equal(again.batch(index, None)[0], oracle.pixels)


def test_a_changed_file_has_another_cache(folder, caches):
    built(folder)
    Image.new("RGB", (8, 8), "red").save(folder / "a" / "00.jpg")
    red = built(folder)
    assert content(red) == content(load(str(folder), size=8, keep="memory"))
    assert len(list((caches / "pixels").iterdir())) == 2


def full(*given):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def read_only(*given, **options):
    raise OSError(errno.EROFS, os.strerror(errno.EROFS))


@pytest.mark.parametrize(
    ("place", "name", "fault", "message"),
    [
        ("os", "pwrite", full, "disk is full"),
        ("pathlib.Path", "mkdir", read_only, r"cannot write \(Read-only file system\)"),
    ],
    ids=["full", "read-only"],
)
def test_a_cache_that_cannot_be_written_is_refused_or_done_without(
    place, name, fault, message, folder, caches, monkeypatch
):
    oracle = content(load(str(folder), size=8, keep="memory"))
    with monkeypatch.context() as patch:
        patch.setattr(f"{place}.{name}", fault)
        with pytest.raises(ResourceError, match=rf"{message}.*CONCORD_CACHE.*data\.keep"):
            built(folder)
        patch.setattr(memory, "available", lambda: 20_000)
        splits = load(str(folder), size=8)
    assert any("images are decoded on the way" in notice for notice in splits.notices)
    assert content(splits) == oracle
    assert not caches.exists() or not list((caches / "pixels").iterdir())


def test_a_disk_without_room_is_refused_before_anything_is_decoded(folder, monkeypatch):
    count = decodings(monkeypatch)
    monkeypatch.setattr(cache.shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10, 5, 5))
    with pytest.raises(ResourceError, match=r"needs 11\.5 kB, the disk has 5 bytes free"):
        built(folder)
    assert count == []


def test_a_stop_while_a_cache_is_made_leaves_nothing(folder, caches):
    def watch(done, total):
        if total and list((caches / "pixels").glob("*.tmp-*")) and done == 30:
            raise StoppedError("enough")

    with pytest.raises(StoppedError):
        built(folder, watch=watch)
    assert list((caches / "pixels").iterdir()) == []


def test_what_a_killed_build_left_is_swept(folder, caches):
    place = caches / "pixels"
    name = cache.place(load(str(folder), size=8, keep="decode").train.store).name
    left = place / f"{name}.tmp-999999999"
    left.mkdir(parents=True)
    built(folder)
    assert [p.name for p in place.iterdir()] == [name]


# files that change


@pytest.mark.parametrize("fault", ["change", "vanish", "damage"])
def test_a_picture_that_changes_while_it_is_in_use_is_named(fault, folder, large):
    train = load(str(folder), size=8, keep="decode", valid=0).train
    path = folder / train.name(3)
    if fault == "change":
        Image.new("RGB", (9, 9)).save(path)
    elif fault == "vanish":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:90])
    with pytest.raises(DataError, match=f"{path.name} .*(has changed|does not exist|cannot be decoded)"):
        train.batch(torch.arange(5), None)
    assert len(train.batch(torch.arange(3), None)[0]) == 3


def test_a_large_set_is_not_decoded_before_it_is_used(folder, large, monkeypatch):
    count = decodings(monkeypatch)
    splits = load(str(folder), size=8, keep="decode")
    assert count == []
    assert next(shuffled(splits.train, Normalise((0.0,) * 3, (1.0,) * 3), batch_size=4, seed=0, epoch=0))
    assert len(count) == 4


def test_the_fingerprint_of_files_sees_their_content_and_not_their_time(folder, large):
    first = load(str(folder), size=8, keep="decode").fingerprint
    for path in folder.rglob("*.png"):
        os.utime(path, (1, 1))
    assert load(str(folder), size=8, keep="memory").fingerprint == first
    path = folder / "a" / "03.png"
    image = Image.open(path)
    image.load()
    image.putpixel((5, 5), (1, 2, 3))
    image.save(path)
    assert load(str(folder), size=8, keep="decode").fingerprint != first


def test_statistics_of_a_large_set_are_those_of_a_fixed_sample(folder, large, monkeypatch):
    monkeypatch.setattr("concord.data.images.images.TYPICAL", 10)
    train = load(str(folder), size=8, keep="decode").train
    chosen = train.typical()
    assert len(chosen) == 10
    assert Normalise.of(train) == Normalise.of(Images(InMemory(chosen.pixels), *_rest(chosen)))
    assert Normalise.of(train) == Normalise.of(load(str(folder), size=8, keep="memory").train)


def _rest(images):
    return images.labels, images.classes, list(images.names)


@pytest.mark.parametrize("keep", WAYS)
def test_copies_are_looked_for_wherever_few_pixels_are_kept(keep, folder):
    shutil.copy(folder / "a" / "00.jpg", folder / "b" / "liar.jpg")
    (notice,) = [text for text in load(folder, keep=keep).notices if "copy" in text]
    assert notice.startswith("1 image of the training part is a copy of another image under another label")


@pytest.mark.parametrize("keep", WAYS)
def test_of_many_pixels_that_are_not_in_memory_it_is_noted_that_nobody_looked(keep, folder, large):
    shutil.copy(folder / "a" / "00.jpg", folder / "b" / "liar.jpg")
    (notice,) = [text for text in load(folder, keep=keep).notices if "cop" in text]
    looked = "copy of another image" in notice
    assert looked == (keep == "memory")
    assert (
        looked
        or f"not looked for, because the pixels are not in memory; `concord data check {folder}`" in notice
    )


def test_with_a_limit_copies_are_looked_for_among_the_images_that_are_used(folder):
    one = (folder / "a" / "00.jpg").read_bytes()
    for file in folder.rglob("*.*"):
        file.write_bytes(one)
    told = "\n".join(load(folder, limit=10).notices)
    assert "12 images of the test part are in the training part too" in told


@pytest.mark.parametrize("keep", WAYS)
@pytest.mark.parametrize("options", [{}, {"limit": 2}, {"bad_images": "skip"}])
def test_too_few_images_are_refused_before_one_is_decoded(keep, options, tmp_path, monkeypatch):
    for name in "abc":
        (tmp_path / name).mkdir()
        Image.new("L", (8, 8)).save(tmp_path / name / "0.png")
    monkeypatch.setattr(pictures.decode, "image", lambda *given: pytest.fail("decoded"))
    with pytest.raises(DataError, match="3 images are too few to cut 1 off for the test part"):
        load(tmp_path, keep=keep, **options)

"""A folder of class folders: class maps by name, sizes, channels, bad and stray files."""

import os
import time

import numpy as np
import pytest
import torch
from data_made import noisy, shared, write_image
from PIL import Image

from concord.data.images import pictures
from concord.data.load import load
from concord.errors import DataError, ResourceError, StoppedError


def fill(root, classes, count: int = 5, *, start: int = 0, **options):
    for k, name in enumerate(classes):
        for i in range(count):
            write_image(root / name / f"{i}.png", start + 40 * k + i, **options)


def notices(splits) -> str:
    return "\n".join(splits.notices)


def test_classes_are_the_sorted_names_and_labels_their_places(tmp_path):
    fill(tmp_path, ["dog", "cat", "10", "9"])
    splits = load(str(tmp_path), valid=0)
    assert splits.train.classes == ("10", "9", "cat", "dog")
    for i, name in enumerate(splits.train.names):
        folder, file = name.split("/")
        k = ["dog", "cat", "10", "9"].index(folder)
        assert splits.train.classes[int(splits.train.labels[i])] == folder
        assert splits.train.pixels[i].unique().tolist() == [40 * k + int(file[0])]


def test_grey_stays_one_channel_only_if_every_image_is_grey(tmp_path):
    fill(tmp_path, ["a", "b"])
    assert load(str(tmp_path)).train.pixels.shape[1:] == (1, 8, 8)
    write_image(tmp_path / "a" / "colour.png", (1, 2, 3), mode="RGB")
    assert load(str(tmp_path)).train.pixels.shape[1:] == (3, 8, 8)


def test_equal_sizes_are_kept(tmp_path):
    fill(tmp_path, ["a", "b"], 20, size=(12, 9))
    splits = load(str(tmp_path))
    assert splits.train.pixels.shape[1:] == (1, 9, 12)
    assert splits.notices == ()


def test_different_sizes_become_64_with_a_notice(tmp_path):
    fill(tmp_path, ["a", "b"])
    write_image(tmp_path / "a" / "large.png", size=(100, 50))
    splits = load(str(tmp_path))
    assert splits.train.pixels.shape[1:] == (1, 64, 64)
    expected = "images differ in size (8x8 to 100x50); resized to 64x64: choose with --set data.size=N"
    assert expected in splits.notices
    chosen = load(str(tmp_path), size=16)
    assert chosen.train.pixels.shape[1:] == (1, 16, 16)
    assert "images resized to 16x16" in chosen.notices


def test_train_valid_and_test_folders_are_kept(tmp_path):
    fill(tmp_path / "train", ["a", "b"], 6)
    fill(tmp_path / "val", ["a", "b"], 2, start=100)
    fill(tmp_path / "test", ["a", "b"], 3, start=200)
    splits = load(str(tmp_path), valid=0.5, test=0.5)
    assert [len(splits.train), len(splits.valid), len(splits.test)] == [12, 4, 6]
    assert splits.valid.names[0] == "val/a/0.png"
    assert splits.test.labels.tolist() == [0, 0, 0, 1, 1, 1]


@pytest.mark.fault(14)
def test_a_class_missing_in_a_part_shifts_nothing(tmp_path):
    fill(tmp_path / "train", ["a", "b", "c"])
    fill(tmp_path / "test", ["b", "c"], start=100)
    splits = load(str(tmp_path))
    assert splits.test.labels.tolist() == [1] * 5 + [2] * 5
    assert "the test part has no image of class 'a'" in notices(splits)


@pytest.mark.fault(14)
def test_a_class_that_train_does_not_have_is_refused(tmp_path):
    fill(tmp_path / "train", ["a", "b"])
    fill(tmp_path / "test", ["a", "B"])
    with pytest.raises(DataError, match="test part has classes that train does not have: B; train has a, b"):
        load(str(tmp_path))


def test_two_validation_parts_are_refused(tmp_path):
    for part in ("train", "val", "valid"):
        fill(tmp_path / part, ["a", "b"])
    with pytest.raises(DataError, match="more than one valid part"):
        load(str(tmp_path))


def test_an_empty_part_is_refused(tmp_path):
    fill(tmp_path / "train", ["a", "b"])
    (tmp_path / "test" / "a").mkdir(parents=True)
    with pytest.raises(DataError, match=r"test part of .* has no image that can be read"):
        load(str(tmp_path))


@pytest.mark.parametrize(("train", "other"), [("training", "testing"), ("Train", "dev")])
def test_other_names_of_parts_are_known(tmp_path, train, other):
    fill(tmp_path / train, ["0", "1"])
    fill(tmp_path / other, ["0", "1"], 3, start=100)
    splits = load(str(tmp_path), valid=0 if other == "testing" else 0.1)
    assert splits.train.classes == ("0", "1")
    assert len(splits.test if other == "testing" else splits.valid) == 6


def test_a_part_beside_what_is_no_part_is_refused_instead_of_read_as_a_class(tmp_path):
    fill(tmp_path / "train", ["cat", "dog"])
    fill(tmp_path, ["test1"])
    with pytest.raises(DataError, match=r"train holds cat, dog\. A part of the data is called train, valid"):
        load(str(tmp_path))


def test_folders_inside_a_class_belong_to_it_and_are_told(tmp_path):
    fill(tmp_path / "car", ["old", "new"])
    fill(tmp_path, ["bus"])
    splits = load(str(tmp_path))
    assert splits.train.classes == ("bus", "car")
    assert f"{tmp_path.name}: folders inside a class belong to it: car holds new, old" in notices(splits)


def test_folders_inside_a_class_of_a_part_are_told_too(tmp_path):
    fill(tmp_path / "train" / "car", ["old", "test"])
    fill(tmp_path / "train", ["bus"])
    fill(tmp_path / "test", ["bus", "car"])
    splits = load(str(tmp_path))
    assert splits.train.classes == ("bus", "car")
    assert "train: folders inside a class belong to it: car holds old, test" in notices(splits)


def test_a_class_may_be_called_train(tmp_path):
    fill(tmp_path, ["train", "plane"])
    assert load(str(tmp_path)).train.classes == ("plane", "train")


def test_stray_files_and_empty_folders_are_ignored_and_told(tmp_path):
    fill(tmp_path, ["a", "b"])
    (tmp_path / "readme.txt").write_text("x")
    (tmp_path / "a" / "Thumbs.db").write_text("x")
    (tmp_path / "b" / ".hidden.png").write_text("x")
    (tmp_path / "docs").mkdir()
    (tmp_path / ".git" / "x").mkdir(parents=True)
    splits = load(str(tmp_path))
    assert splits.train.classes == ("a", "b")
    told = "ignored: 3 files that are not images (1 DB, 1 PNG, 1 TXT): a/Thumbs.db, b/.hidden.png, readme.txt"
    assert told in notices(splits)
    assert "1 folder has no image that is read and does not count as a class (train): docs" in notices(splits)


def test_images_in_no_class_folder_get_advice(tmp_path):
    write_image(tmp_path / "a" / "1.png")
    write_image(tmp_path / "loose.png")
    with pytest.raises(DataError, match="there is only 'a'; move the images into one folder for each class"):
        load(str(tmp_path))


def test_images_below_deeper_folders_belong_to_their_class(tmp_path):
    fill(tmp_path, ["a/x", "a/y", "b/z"])
    splits = load(str(tmp_path))
    assert splits.train.classes == ("a", "b")
    assert len(splits.train) + len(splits.valid) + len(splits.test) == 15


def test_loops_of_links_end_and_links_to_folders_are_followed(tmp_path):
    fill(tmp_path / "set", ["a"])
    fill(tmp_path / "elsewhere", ["x"], start=100)
    (tmp_path / "set" / "b").symlink_to(tmp_path / "elsewhere" / "x")
    (tmp_path / "set" / "a" / "loop").symlink_to(tmp_path / "set")
    (tmp_path / "set" / "a" / "self").symlink_to(tmp_path / "set" / "a")
    splits = load(str(tmp_path / "set"))
    assert splits.train.classes == ("a", "b")
    assert len(splits.train) + len(splits.valid) + len(splits.test) == 10


@pytest.fixture
def damaged(tmp_path):
    """12 good images and 13 bad ones."""
    fill(tmp_path, ["a", "b"], 6)
    for i in range(11):
        (tmp_path / "a" / f"bad{i:02}.png").write_bytes(b"nonsense")
    whole = tmp_path / "b" / "0cut.png"  # stands among good ones; only decoding shows that it is cut
    Image.fromarray(noisy(1, 8, 8)[0]).save(whole)
    whole.write_bytes(whole.read_bytes()[:-30])
    (tmp_path / "b" / "empty.png").write_bytes(b"")
    return tmp_path


def test_all_bad_images_are_named_before_anything_trains(damaged):
    with pytest.raises(DataError) as refused:
        load(str(damaged))
    message = str(refused.value)
    assert message.startswith("13 of the images in ")
    assert "a/bad00.png: is not an image" in message
    assert "and 3 more" in message
    assert "--set data.bad_images=skip" in message
    assert f"concord data check {damaged}" in message


def test_bad_images_can_be_skipped_with_a_notice(damaged):
    splits = load(str(damaged), bad_images="skip", valid=0)
    assert len(splits.train) + len(splits.test) == 12
    assert "13 unusable images skipped" in notices(splits)
    for part in (splits.train, splits.test):  # rows stay with their names and labels
        for i, name in enumerate(part.names):
            folder, file = name.split("/")
            assert part.pixels[i].unique().tolist() == [40 * "ab".index(folder) + int(file[0])]
            assert int(part.labels[i]) == "ab".index(folder)


def test_a_folder_of_only_bad_images_is_refused_even_when_skipping(tmp_path):
    for k in "ab":
        (tmp_path / k).mkdir()
        (tmp_path / k / "1.png").write_bytes(b"nonsense")
    with pytest.raises(DataError, match="has no image that can be read"):
        load(str(tmp_path), bad_images="skip")
    with pytest.raises(DataError, match=r"(?s)has no image that can be read.*a/1\.png: is not an image"):
        load(str(tmp_path))


def test_what_does_not_fit_in_memory_is_refused_before_it_is_decoded(tmp_path, monkeypatch):
    fill(tmp_path, ["a", "b"])
    monkeypatch.setattr("concord.data.memory.available", lambda: 600)
    with pytest.raises(
        ResourceError, match=r"10 images of 8x8 needs 640 bytes .*data\.size=N, or --set data\.keep=disk"
    ):
        load(str(tmp_path), keep="memory")


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_an_unreadable_folder_is_a_data_error(tmp_path):
    fill(tmp_path, ["a", "b"])
    (tmp_path / "a").chmod(0)
    try:
        with pytest.raises(DataError, match="Permission denied"):
            load(str(tmp_path))
    finally:
        (tmp_path / "a").chmod(0o700)


def test_read_only_data_are_read(tmp_path):
    fill(tmp_path, ["a", "b"])
    for path in [*tmp_path.rglob("*"), tmp_path]:
        path.chmod(0o555 if path.is_dir() else 0o444)
    try:
        assert len(load(str(tmp_path), valid=0).train) == 8
    finally:
        for path in [tmp_path, *tmp_path.rglob("*")]:
            path.chmod(0o755)


def test_many_threads_give_what_one_gives(tmp_path, monkeypatch):
    for k in "ab":
        for i, pixels in enumerate(noisy(20, 9, 13, seed=ord(k))):
            (tmp_path / k).mkdir(exist_ok=True)
            Image.fromarray(pixels).save(tmp_path / k / f"{i}.png")
    many = load(str(tmp_path), size=7)
    monkeypatch.setattr(os, "cpu_count", lambda: 1)
    assert many.fingerprint == load(str(tmp_path), size=7).fingerprint


def test_who_watches_hears_of_every_image_found_looked_at_and_decoded(tmp_path):
    fill(tmp_path / "train", ["a", "b"], 3)
    fill(tmp_path / "test", ["a"], 2)
    heard = []
    load(str(tmp_path), watch=lambda done, total: heard.append((done, total)))
    numbered = [(i, 8) for i in range(1, 9)]
    assert heard == [(3, 0), (6, 0), (8, 0), *numbered, *numbered]


@pytest.mark.parametrize("phase", ["scan", "headers", "pixels"])
def test_who_watches_can_end_the_reading_at_once(phase, tmp_path, monkeypatch):
    fill(tmp_path, ["a", "b"], 100)
    seen = {"header": 0, "image": 0}
    whole = {"header": pictures.decode.header, "image": pictures.decode.image}

    def slow(name):
        def look(*given):
            time.sleep(0.002)
            seen[name] += 1
            return whole[name](*given)

        return look

    def watch(done, total):
        now = "scan" if total == 0 else "pixels" if seen["image"] else "headers"
        if now == phase and done >= 5:
            raise StoppedError("enough")

    for name in seen:
        monkeypatch.setattr(pictures.decode, name, slow(name))
    with pytest.raises(StoppedError, match="enough"):
        load(str(tmp_path), watch=watch)
    looked, decoded = seen["header"], seen["image"]
    # of 200: those at work, and what the main thread was late for
    assert {"scan": looked == 0, "headers": 5 <= looked < 199, "pixels": 5 <= decoded < 199}[phase]
    assert decoded == 0 or phase == "pixels"


def test_photographs_are_read_whole_and_in_colour():
    folder = shared("animals")
    from concord.data.images.decode import open_image

    for path in sorted(folder.iterdir()):
        expected = np.asarray(Image.open(path).convert("RGB"))
        assert torch.equal(open_image(path, mode="RGB"), torch.from_numpy(expected.copy()).permute(2, 0, 1))

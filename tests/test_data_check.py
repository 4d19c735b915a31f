"""The report on a data set: everything wrong with it at once."""

import json

import numpy as np
import pytest
from data_made import noisy, shared, write_idx, write_image
from PIL import Image

from concord.data.images.check import check


def picture(path, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def text(report) -> str:
    return "\n".join(report.lines())


@pytest.fixture
def troubled(tmp_path):
    """One of each fault: see the assertions."""
    pixels = iter(noisy(60, 8, 8))
    kept = {}
    for part, classes, count in (("train", "abc", 6), ("test", "ab", 3)):
        for k in classes:
            for i in range(count):
                kept[part, k, i] = next(pixels)
                picture(tmp_path / part / k / f"{i}.png", kept[part, k, i])
    picture(tmp_path / "train" / "a" / "twin.png", kept["train", "a", 0])
    picture(tmp_path / "train" / "b" / "liar.png", kept["train", "a", 1])
    picture(tmp_path / "test" / "b" / "leak.png", kept["train", "b", 2])
    picture(tmp_path / "test" / "z" / "extra.png", next(pixels))
    (tmp_path / "train" / "c" / "bad\x1b[2J.png").write_bytes(b"x")
    (tmp_path / "test" / "a" / "empty.png").write_bytes(b"")
    write_image(tmp_path / "train" / "c" / "large.png", 7, size=(20, 10))
    return tmp_path


@pytest.mark.fault(11)
def test_every_fault_of_a_folder_is_in_one_report(troubled):
    report = check(str(troubled), size=8)
    assert not report.ok
    assert report.kind == "folder"
    assert report.counts == {"train": {"a": 7, "b": 7, "c": 7}, "test": {"a": 3, "b": 4, "c": 0}}
    assert report.sizes == {"8x8": 27, "20x10": 1}
    assert report.missing == {"test": ["c"]}
    assert {bad.name: bad.reason.split(";")[0] for bad in report.bad} == {
        "train/c/bad\x1b[2J.png": "is not an image",
        "test/a/empty.png": "is empty (0 bytes)",
    }
    (problem,) = report.problems
    assert "test part has classes that train does not have: z" in problem
    within = report.duplicates["train"]
    assert (within.count, within.conflicting) == (2, 1)
    assert within.examples[0] == "train/b/liar.png = train/a/1.png ('b' and 'a')"
    assert list(report.leaks) == ["test in train"]
    assert report.leaks["test in train"].examples == ("test/b/leak.png = train/b/2.png",)


@pytest.mark.fault(24)
def test_the_report_shows_no_control_character_and_is_json(troubled):
    report = check(str(troubled))
    for line in report.lines():
        assert line.isprintable()
    assert r"bad\x1b[2J.png" in text(report)
    document = json.loads(json.dumps(report.as_dict()))
    assert document["ok"] is False
    assert document["counts"]["train"] == {"a": 7, "b": 7, "c": 7}
    assert document["bad"][0]["name"] == "train/c/bad\x1b[2J.png"


def test_a_good_data_set_is_ok():
    report = check("digits")
    assert report.ok
    assert report.counts["train"]["0"] == 178
    assert sum(report.counts["train"].values()) == 1797
    assert report.sizes == {"8x8": 1797}
    assert text(report).startswith("digits: digits, usable\ntrain: 1,797 images (0 178, 1 182, ")


def test_copies_within_one_part_are_told_but_can_be_lived_with(tmp_path):
    write_idx(tmp_path, "a", np.concatenate([noisy(20), noisy(4)]), np.arange(24) % 4)
    report = check(str(tmp_path / "a"))
    assert report.ok
    assert report.duplicates["train"].count == 4
    assert "train: 4 copies of other images of train" in text(report)
    assert "--set data.drop_duplicates=true" in text(report)


def test_a_copy_with_another_label_is_not_ok(tmp_path):
    write_idx(tmp_path, "a", np.concatenate([noisy(20), noisy(1)]), [*(np.arange(20) % 4), 3])
    report = check(str(tmp_path / "a"))
    assert not report.ok
    assert "1 copies of other images of train, 1 with another label" in text(report)


def test_a_test_image_that_is_trained_on_is_not_ok(tmp_path):
    write_idx(tmp_path, "train", noisy(20), np.arange(20) % 4)
    write_idx(tmp_path, "t10k", noisy(3), np.arange(3) % 4)
    report = check(str(tmp_path))
    assert not report.ok
    assert report.leaks["test in train"].count == 3
    assert "leak: 3 images of test in train" in text(report)


def test_a_wrong_file_does_not_hide_the_rest(tmp_path):
    write_idx(tmp_path, "train", noisy(20), np.arange(20) % 4)
    write_idx(tmp_path, "t10k", noisy(3), [0, 1])
    report = check(str(tmp_path))
    assert not report.ok
    assert report.counts["train"] == {"0": 5, "1": 5, "2": 5, "3": 5}
    assert "the two files do not belong together" in report.problems[0]


def test_what_cannot_be_read_at_all_is_a_report_too(tmp_path):
    report = check(str(tmp_path / "gone"))
    assert not report.ok
    assert "no file or folder" in report.problems[0]
    assert "problem: no file or folder" in text(report)


@pytest.mark.fault(15)
def test_imbalance_is_told_over_20(tmp_path):
    write_idx(tmp_path, "a", noisy(64), [0] * 61 + [1] * 3)
    assert "imbalance: the largest class has 20 times" in text(check(str(tmp_path / "a")))
    write_idx(tmp_path, "b", noisy(63), [0] * 60 + [1] * 3)
    assert "imbalance:" not in text(check(str(tmp_path / "b")))


def test_notmnist_has_its_known_copies():
    report = check(str(shared("notmnist") / "grey10k"))
    assert report.duplicates["train"].count == 10_000 - 9_804
    assert set(report.counts["train"].values()) == {1000}

"""The report on a data set: everything wrong with it at once."""

import json

import numpy as np
import pytest
from data_made import noisy, shared, write_idx, write_image
from PIL import Image

from concord.data.images.check import check
from concord.data.load import load
from concord.errors import DataError


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


def test_a_copy_with_another_label_is_a_warning_that_training_gives_too(tmp_path):
    write_idx(tmp_path, "a", np.concatenate([noisy(20), noisy(1)]), [*(np.arange(20) % 4), 3])
    report = check(str(tmp_path / "a"))
    assert report.ok
    assert "1 copy of another image of train, 1 with another label" in text(report)
    (warning,) = report.warnings
    assert warning.startswith("1 image of the training part is a copy of another image under another label")
    assert "a-images-idx3-ubyte[20] = a-images-idx3-ubyte[0] ('3' and '0')" in warning
    assert "keeps the first of equal images, with its label" in warning
    assert "usable, with a warning" in text(report)
    assert warning in load(str(tmp_path / "a")).notices
    assert warning not in load(str(tmp_path / "a"), drop_duplicates=True).notices


def test_a_test_image_that_is_trained_on_is_a_warning_that_training_gives_too(tmp_path):
    write_idx(tmp_path, "train", noisy(20), np.arange(20) % 4)
    write_idx(tmp_path, "t10k", noisy(3), np.arange(3) % 4)
    report = check(str(tmp_path))
    assert report.ok
    assert report.leaks["test in train"].count == 3
    assert "leak: 3 images of test in train" in text(report)
    (warning,) = report.warnings
    assert warning.startswith("3 images of the test part are in the training part too, such as t10k")
    assert warning in load(str(tmp_path)).notices
    assert warning not in load(str(tmp_path), drop_duplicates=True).notices


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
    assert "the largest class has 22 times as many training images" in text(check(str(tmp_path / "a")))
    write_idx(tmp_path, "b", noisy(60), [0] * 50 + [1] * 10)
    assert "times as many" not in text(check(str(tmp_path / "b")))


def test_notmnist_has_its_known_copies():
    report = check(str(shared("notmnist") / "grey10k"))
    assert report.duplicates["train"].count == 10_000 - 9_804
    assert set(report.counts["train"].values()) == {1000}


LABELS = {
    "two": [0, 1],
    "one of each": list(range(10)),
    "a thousand classes": list(range(1000)),
    "one class": [5] * 40,
    "three": [0, 0, 1],
    "two and two": [0, 0, 1, 1],
    "four": [0, 0, 0, 1],
    "imbalanced": [0] * 40 + [1] * 2,
    "a rare class": [0] * 40 + [1] * 40 + [2],
    "plenty": [0] * 40 + [1] * 40,
    "negative": [-1, 0, 1] * 20,
}


@pytest.mark.parametrize("name", LABELS)
def test_checking_and_training_judge_alike_in_the_same_words(name, tmp_path):
    labels = np.array(LABELS[name])
    path = str(tmp_path / "a.npz")
    np.savez(path, x_train=noisy(len(labels)), y_train=labels)
    report = check(path)
    if not report.ok:
        with pytest.raises(DataError) as refused:
            load(path)
        assert str(refused.value) in report.problems
        assert report.split == {}
        return
    splits = load(path)
    parts = {"train": splits.train, "valid": splits.valid, "test": splits.test}
    assert report.notices == splits.notices
    assert report.split == {part: len(images) for part, images in parts.items()}


@pytest.mark.parametrize("parts", [("train", "test"), ("train", "valid"), ("train", "valid", "test")])
@pytest.mark.parametrize("fault", [None, "leak", "label", "bad"])
def test_they_judge_folders_with_parts_alike_too(parts, fault, tmp_path):
    pixels = iter(noisy(60, 8, 8))
    for part in parts:
        for name in "ab":
            for i in range(6 if part == "train" else 3):
                picture(tmp_path / part / name / f"{i}.png", next(pixels))
    first = (tmp_path / "train" / "a" / "0.png").read_bytes()
    if fault == "leak":
        (tmp_path / parts[-1] / "a" / "leak.png").write_bytes(first)
    elif fault == "label":
        (tmp_path / "train" / "b" / "liar.png").write_bytes(first)
    elif fault == "bad":
        (tmp_path / "train" / "b" / "bad.png").write_bytes(first[:50])
    report = check(str(tmp_path))
    assert report.ok == (fault != "bad")
    assert bool(report.warnings) == (fault in ("leak", "label"))
    if report.ok:
        assert {*report.notices, *report.warnings} == {*load(str(tmp_path)).notices}
    else:
        with pytest.raises(DataError, match=r"Leave them out with --set data.bad_images=skip") as refused:
            load(str(tmp_path))
        told = str(refused.value).split("; `concord data check")[0]
        assert told in text(report)
        assert load(str(tmp_path), bad_images="skip")


def test_what_the_split_leaves_without_a_class_is_told(tmp_path):
    np.savez(tmp_path / "a.npz", x_train=noisy(41), y_train=np.array([0] * 40 + [1]))
    report = check(str(tmp_path / "a.npz"))
    assert report.ok
    assert "the test part has no image of class '1'" in report.notices  # its one image stays to be trained on
    assert report.split == {"train": 30, "valid": 3, "test": 8}  # of 41: a fifth, then a tenth of 33
    assert "split: train 30, valid 3, test 8 (with data.test = 0.2, data.valid = 0.1)" in text(report)


def test_sizes_say_which_number_is_which(tmp_path):
    for i, size in enumerate([(8, 6)] * 3 + [(10, 4)]):
        (tmp_path / "ab"[i % 2]).mkdir(exist_ok=True)
        write_image(tmp_path / "ab"[i % 2] / f"{i}.png", i, size=size)
    assert "sizes, width x height: 8x6 (3 images), 10x4 (1 image)" in text(check(str(tmp_path)))


def test_of_many_sizes_the_smallest_the_median_and_the_largest_are_told(tmp_path):
    for i in range(21):
        (tmp_path / "ab"[i % 2]).mkdir(exist_ok=True)
        write_image(tmp_path / "ab"[i % 2] / f"{i}.png", i, size=(5 + i, 7))
    shown = "sizes, width x height: 5x7 smallest, 15x7 median, 25x7 largest; 21 sizes in all"
    assert shown in text(check(str(tmp_path)))


def folder_of(tmp_path, *names):
    for i, name in enumerate(names):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        if name.endswith("png"):
            write_image(tmp_path / name, i, size=(6, 6))
        else:
            (tmp_path / name).write_bytes(b"x")
    return check(str(tmp_path))


ENOUGH = [f"{name}/{i}.png" for name in "ab" for i in range(6)]


def test_an_image_outside_of_the_classes_is_not_called_no_image(tmp_path):
    report = folder_of(tmp_path, *ENOUGH, "stray.png", "notes.txt")
    assert "1 image lies in no class folder and is ignored: stray.png" in report.notices
    assert "ignored: 1 file that is not an image (1 TXT): notes.txt" in report.notices


def test_pictures_of_kinds_that_are_not_read_are_counted_by_kind(tmp_path):
    report = folder_of(tmp_path, *ENOUGH, "a/1.JXL", "b/2.jxl", "b/3.svg")
    assert "ignored: 2 JXL, 1 SVG: convert them to JPEG or PNG" in report.notices


def test_a_class_of_such_pictures_alone_is_told(tmp_path):
    report = folder_of(tmp_path, "a/1.png", "b/1.jxl", "b/2.jxl")
    assert "there is only 'a'" in report.problems[0]
    assert "2 JXL: convert them to JPEG or PNG" in report.problems[0]


def test_images_without_class_folders_are_counted(tmp_path):
    report = folder_of(tmp_path, *[f"{i}.png" for i in range(9)], "x.jxl")
    assert "holds 9 images, but no class folders: move the images into" in report.problems[0]
    assert "1 JXL: convert it to JPEG or PNG" in report.problems[0]
    assert sum(line.startswith("problem:") for line in report.lines()) == 1


def test_only_the_first_line_of_a_problem_is_headed_so(tmp_path):
    report = folder_of(tmp_path, "notes.txt")
    first, *rest = (line for line in report.lines() if "usable" not in line)
    assert first.startswith("problem: found no data in")
    assert len(rest) > 3
    assert not any(line.startswith("problem:") for line in rest)

"""Parts of images with masks, the data set that they are, and the report on them."""

import json
import pickle

import numpy as np
import pytest
import torch
from data_made import shared
from docs_made import ROOT, blocks
from masks_made import folder, picture, save, stack, truth

from concord.data.checked import check
from concord.data.dataset import Bounded, Draw
from concord.data.loader import Loader
from concord.data.loader import Wanted as Batch
from concord.data.segmentation.border import Border, between
from concord.data.segmentation.crops import Crops
from concord.data.segmentation.load import Wanted, load, whole
from concord.errors import DataError, UsageError
from concord.runs.samples import at_once, first_two, in_order

TEN = [str(i) for i in range(10)]


def loaded(root, *, crops=Crops(8), **asked):
    return load(Wanted(str(root), crops, **asked))


def in_part(part):
    return [pair.name for pair in part.pairs]


# Parts


def test_fractions_are_cut_off_as_a_function_of_the_seed(tmp_path):
    folder(tmp_path, TEN)
    parts = loaded(tmp_path, test=0.2, valid=0.25, seed=1)
    three = [in_part(part) for part in (parts.train, parts.valid, parts.test)]
    assert [len(names) for names in three] == [6, 2, 2]
    assert sorted(name for names in three for name in names) == TEN
    again = loaded(tmp_path, test=0.2, valid=0.25, seed=1)
    assert [in_part(part) for part in (again.train, again.valid, again.test)] == three
    assert again.fingerprint == parts.fingerprint
    tests = {tuple(in_part(loaded(tmp_path, seed=seed).test)) for seed in range(5)}
    assert len(tests) > 1


def test_a_fraction_takes_one_image_at_least(tmp_path):
    parts = loaded(folder(tmp_path, TEN), test=0.01, valid=0)
    assert (len(parts.train.pairs), len(parts.test.pairs)) == (9, 1)


@pytest.mark.parametrize(
    ("wanted", "taken"), [("7-9", "789"), ("8, 2-3 ,0", "0238"), ("9 - 30", "9"), ("a,1-1", "1a")]
)
def test_names_and_ranges_of_numbers_are_held_out(wanted, taken, tmp_path):
    folder(tmp_path, [*TEN, "a", "12b"])
    parts = loaded(tmp_path, test=wanted, valid=0)
    assert in_part(parts.test) == sorted(taken)
    assert len(in_part(parts.train)) == 12 - len(taken)
    assert parts.valid is None


def test_frames_of_a_stack_are_held_out_by_number(tmp_path):
    stack(tmp_path / "images.tif", [picture(i) for i in range(6)])
    stack(tmp_path / "masks.tif", [truth(i) for i in range(6)])
    parts = loaded(tmp_path, test="4-5", valid="0")
    assert [in_part(part) for part in (parts.train, parts.valid, parts.test)] == [
        ["1", "2", "3"],
        ["0"],
        ["4", "5"],
    ]
    x, y = parts.test.batch(torch.tensor([1]), None)
    assert torch.equal(x[0, 0], torch.from_numpy(picture(5)))
    assert torch.equal(y[0], torch.from_numpy(truth(5)))
    mean = np.mean([picture(i) for i in (1, 2, 3)])
    assert parts.known.normalise.mean[0] == pytest.approx(mean)


@pytest.mark.parametrize(
    ("asked", "error", "said"),
    [
        ({"test": "20-30"}, UsageError, "'20-30' matches no image; names are such as '0' and '9'"),
        ({"test": "3x"}, UsageError, "'3x' matches no image"),
        ({"test": ","}, UsageError, "names no image"),
        ({"test": 1.0}, UsageError, "a fraction from 0 to below 1, or names such as '24-29'; got 1.0"),
        ({"valid": -0.1}, UsageError, "data.valid is a fraction"),
        ({"test": "0-9"}, DataError, "10 images with masks: data.test=0-9 leaves none to train on"),
        ({"limit": 0}, UsageError, "data.limit must be 1 or more"),
        ({"border": Border(objects="hole")}, UsageError, "'hole', the classes are 0, 1"),
    ],
)
def test_parts_that_cannot_be_cut_are_refused(asked, error, said, tmp_path):
    with pytest.raises(error, match=said):
        loaded(folder(tmp_path, TEN), **asked)


def test_parts_of_the_source_are_kept_and_not_cut_again(tmp_path):
    folder(tmp_path / "train", "abcd")
    folder(tmp_path / "test", "xy")
    parts = loaded(tmp_path, test=0.5, valid=0)
    assert (in_part(parts.train), in_part(parts.test), parts.own_test) == (list("abcd"), list("xy"), True)
    with pytest.raises(UsageError, match="the source has a test part itself"):
        loaded(tmp_path, test="x")


def test_a_source_without_images_to_train_on_is_refused(tmp_path):
    folder(tmp_path, "ab")
    (tmp_path / "test.txt").write_text("a\nb\n")
    with pytest.raises(DataError, match="has no images with masks to train on"):
        loaded(tmp_path)


def test_a_limit_bounds_the_images_that_are_trained_on(tmp_path):
    folder(tmp_path, TEN)
    parts, small = loaded(tmp_path), loaded(tmp_path, limit=3)
    assert len(small.train.pairs) == 3
    assert set(in_part(small.train)) < set(in_part(parts.train))
    assert in_part(small.test) == in_part(parts.test)


# Samples


def test_statistics_are_those_of_the_training_pixels(tmp_path):
    parts = loaded(folder(tmp_path, TEN), test="8,9", valid=0)
    pixels = np.stack([picture(i) for i in range(8)]).astype(float)
    normalise = parts.train.spec.normalise
    assert (normalise.mean[0], normalise.std[0]) == pytest.approx((pixels.mean(), pixels.std()))
    assert parts.test.spec.normalise == normalise


def test_images_are_grey_where_all_are_and_else_in_colour(tmp_path):
    folder(tmp_path, TEN)
    assert loaded(tmp_path).train.spec.shape == (1, 8, 8)
    save(tmp_path / "images/3.png", picture(3, channels=3))
    parts = loaded(tmp_path, test="3", valid=0)
    assert parts.train.spec.shape == (3, 8, 8)
    x, _ = parts.test.batch(torch.tensor([0]), None)
    assert torch.equal(x[0], torch.from_numpy(picture(3, channels=3)).permute(2, 0, 1))


def test_an_epoch_covers_every_image_about_once(tmp_path):
    folder(tmp_path, TEN, size=(17, 16))
    parts = loaded(tmp_path, test="9", valid=0)
    assert len(parts.train) == 9 * 3 * 2
    assert parts.train.name(7).endswith("images/1.png, crop 1")
    assert parts.train.name(53).endswith("images/8.png, crop 5")
    x, y = parts.train.batch(torch.arange(6), None)  # nothing drawn: all of image 0
    assert torch.equal(x[0, 0], torch.from_numpy(picture(0, (17, 16)))[:8, :8])
    assert torch.equal(y[5], torch.from_numpy(truth(0, (17, 16)))[9:, 8:])


def test_a_sample_is_a_function_of_seed_epoch_and_number_whatever_the_batch_and_the_worker(tmp_path):
    folder(tmp_path, TEN, values=(0, 1, 2))
    crops = Crops((8, 6), deform=1, brightness=0.2)
    train = loaded(tmp_path, crops=crops, border=Border(sigma=1)).train
    index, draw = torch.tensor([5, 0, 11]), Draw(3, 1)
    x, y = train.batch(index, draw)
    alone = [train.batch(i[None], draw) for i in index]
    fresh = pickle.loads(pickle.dumps(train)).batch(index.flip(0), draw)
    loader = Loader({"train": train}, workers=1)
    ((worked, targets),) = loader.batches([Batch("train", index, draw)])
    loader.close()
    assert torch.equal(x, torch.cat([a for a, _ in alone]))
    assert torch.equal(x, fresh[0].flip(0))
    assert torch.equal(x, worked)
    for key in ("classes", "weights"):
        assert torch.equal(y[key], torch.cat([b[key] for _, b in alone]))
        assert torch.equal(y[key], targets[key])
    assert not torch.equal(x, train.batch(index, Draw(3, 2))[0])


def test_weights_are_those_of_classes_and_borders_and_zero_where_nothing_counts(tmp_path):
    folder(tmp_path, "abcd", values=(0, 1, 2))
    table = {"back": 0, "ignore": 2, "cell": 1}
    parts = loaded(
        tmp_path, crops=Crops((12, 16), flip=False), classes=table, border=Border(3.0, 2.0), test=0, valid=0
    )
    masks = np.stack([truth(i, values=(0, -1, 1)) for i in range(4)])  # in the order of the values 0, 1, 2
    masks = np.where(masks == -1, 1, np.where(masks == 1, -1, masks))
    share = [(masks == k).sum() / (masks >= 0).sum() for k in range(2)]
    _, y = parts.train.batch(torch.arange(4), None)
    assert torch.equal(y["classes"], torch.from_numpy(masks).long())
    for mask, weights in zip(masks, y["weights"], strict=True):
        expected = np.choose(mask.clip(0), [1 / (2 * s) for s in share]) + between(mask == 1, 3.0, 2.0)
        np.testing.assert_allclose(weights, np.where(mask < 0, 0, expected), rtol=1e-6)


def test_evaluation_has_whole_images_as_many_at_once_as_their_size_allows(tmp_path):
    folder(tmp_path, "abcd")
    parts = loaded(tmp_path, test="c,d", valid=0)
    assert isinstance(parts.test, Bounded)
    assert at_once(parts.test) == 2**20 // (12 * 16)
    x, y = parts.test.batch(torch.arange(2), None)
    assert torch.equal(x[:, 0], torch.from_numpy(np.stack([picture(2), picture(3)])))
    assert torch.equal(y, torch.from_numpy(np.stack([truth(2), truth(3)])))


def test_images_of_several_sizes_are_evaluated_one_by_one(tmp_path):
    folder(tmp_path, "abc")
    save(tmp_path / "images/d.png", picture(9, (20, 9)))
    save(tmp_path / "masks/d.png", truth(9, (20, 9)))
    parts = loaded(tmp_path, test="c,d", valid=0)
    assert parts.test.spec.shape == (1, "H", "W")
    shapes = [tuple(x.shape) for x, _ in in_order(parts.test, "test", Loader({"test": parts.test}))]
    assert shapes == [(1, 1, 12, 16), (1, 1, 20, 9)]
    assert first_two(parts.test)[0].shape == (1, 1, 12, 16)
    with pytest.raises(UsageError, match="whole images needs one size; ask for 1 at a time"):
        parts.test.batch(torch.arange(2), None)
    x, _ = parts.train.batch(torch.arange(4), Draw(0, 0))
    assert x.shape == (4, 1, 8, 8)


def test_other_images_are_read_as_the_training_was(tmp_path):
    folder(tmp_path / "own", TEN, values=(0, 255))
    known = loaded(tmp_path / "own", classes={"cell": 255, "membrane": 0}).known
    save(tmp_path / "other/images/x.png", picture(0, channels=3))
    save(tmp_path / "other/masks/x.png", truth(0, values=(255, 0)))
    test = whole(str(tmp_path / "other"), known)
    x, y = test.batch(torch.tensor([0]), None)
    assert x.shape == (1, 1, 12, 16)
    assert torch.equal(y[0], torch.from_numpy(truth(0)))
    save(tmp_path / "other/masks/x.png", truth(0, values=(0, 1)))
    with pytest.raises(DataError, match=r"of 1, but the classes have 0 and 255"):
        whole(str(tmp_path / "other"), known)


@pytest.mark.parametrize("change", ["image", "mask", "classes"])
def test_the_fingerprint_is_that_of_pixels_masks_and_classes(change, tmp_path):
    folder(tmp_path, "abcd")
    before = loaded(tmp_path).fingerprint
    assert loaded(tmp_path).fingerprint == before
    if change == "image":
        save(tmp_path / "images/a.png", picture(77))
    elif change == "mask":
        save(tmp_path / "masks/a.png", 1 - truth(0))
    else:
        (tmp_path / "classes.csv").write_text("a,1\nb,0")
    assert loaded(tmp_path).fingerprint != before


def test_more_pixels_than_are_decoded_beforehand_have_a_fingerprint_of_their_files(tmp_path, monkeypatch):
    monkeypatch.setattr("concord.data.segmentation.survey.WHOLE", 100)
    monkeypatch.setattr("concord.data.segmentation.survey.TYPICAL", 2)
    folder(tmp_path, TEN)
    save(tmp_path / "images/9.png", picture(0))  # a copy, which is not looked for among files
    parts = loaded(tmp_path, test="9", valid=0)
    assert not any("too, such as" in text for text in parts.notices)
    assert any("copies among the images were not looked for" in text for text in parts.notices)
    pairs = [(i, j) for i in range(9) for j in range(i)]
    means = [np.stack([picture(i), picture(j)]).mean() for i, j in pairs]
    assert any(parts.known.normalise.mean[0] == pytest.approx(mean) for mean in means)
    save(tmp_path / "images/4.png", picture(77))
    assert loaded(tmp_path, test="9", valid=0).fingerprint != parts.fingerprint


# Notices and the report


def test_images_that_are_tested_and_trained_on_are_noticed(tmp_path):
    folder(tmp_path, TEN)
    save(tmp_path / "images/9.png", picture(0))
    (notice,) = [text for text in loaded(tmp_path, test="9", valid=0).notices if "training part" in text]
    assert notice.startswith("1 image of the test part is in the training part too, such as")
    assert "images/9.png = " in notice


def test_masks_with_one_class_and_crops_larger_than_images_are_noticed(tmp_path):
    folder(tmp_path, TEN)
    save(tmp_path / "masks/3.png", np.zeros((12, 16)))
    notices = loaded(tmp_path, crops=Crops(16), test="9", valid=0).notices
    assert any("1 mask of the training part holds one class alone, such as" in text for text in notices)
    assert any("9 training images smaller than the crops of 16x16, such as 16x12" in text for text in notices)


def test_a_training_part_of_one_class_is_refused(tmp_path):
    folder(tmp_path, TEN)
    for i in range(9):
        save(tmp_path / f"masks/{i}.png", np.zeros((12, 16)))
    with pytest.raises(DataError, match=r"fewer than two classes \(pixels of each: 0 1,728, 1 0\)"):
        loaded(tmp_path, test="9", valid=0)


def test_the_report_counts_images_pixels_empty_masks_and_sizes(tmp_path):
    folder(tmp_path, TEN, values=(0, 1, 2))
    (tmp_path / "classes.csv").write_text("back,0\ncell,1\nignore,2\n")
    save(tmp_path / "masks/3.png", np.zeros((12, 16)))
    save(tmp_path / "images/4.png", picture(0))
    report = check(str(tmp_path))
    masks = np.stack([np.zeros((12, 16)) if i == 3 else truth(i, values=(0, 1, 2)) for i in range(10)])
    assert report.ok
    assert report.counts == {"train": 10}
    assert report.pixels == {"train": {"back": (masks == 0).sum(), "cell": (masks == 1).sum()}}
    assert report.ignored == {"train": (masks == 2).sum()}
    assert report.empty == {"train": 1}
    assert report.sizes == {"16x12": 10}
    assert report.split == {"train": 7, "test": 2, "valid": 1}
    assert len(report.warnings) == 1
    assert "images/4.png = " in report.warnings[0]
    text = "\n".join(report.lines())
    assert "images with masks, usable, with a warning" in text
    assert f"left out {(masks == 2).mean():.1%}; 1 mask of one class alone" in text
    assert json.loads(json.dumps(report.as_dict()))["ok"] is True


def test_the_report_has_every_fault_and_training_refuses_in_the_same_words(tmp_path):
    folder(tmp_path, TEN)
    save(tmp_path / "masks/1.png", truth(1, size=(16, 12)))
    save(tmp_path / "masks/extra\x1b[2J.png", truth(1))
    (tmp_path / "images/2.png").write_bytes(b"no image")
    report = check(str(tmp_path))
    assert not report.ok
    assert len(report.bad) == 3
    lines = list(report.lines())
    assert "not usable as it is" in lines[0]
    assert all(line.isprintable() for line in lines)
    assert sum(line.startswith("unusable: ") for line in lines) == 3
    with pytest.raises(DataError) as refused:
        loaded(tmp_path)
    assert all(bad.reason in str(refused.value) for bad in report.bad)


def test_masks_whose_values_fit_no_class_are_a_problem_of_the_report(tmp_path):
    report = check(str(folder(tmp_path, TEN, values=(0, 1, 255))))
    assert not report.ok
    assert "problem: " in "\n".join(report.lines())
    with pytest.raises(DataError) as refused:
        loaded(tmp_path)
    assert str(refused.value) in report.problems


def test_a_folder_of_classes_has_the_report_of_pictures():
    assert check("digits").kind == "digits"


def test_the_example_of_the_document_runs():
    given = {"__name__": "segmentation"}
    (block,) = blocks(ROOT / "docs/segmentation-data.md", "python")
    exec(compile(block, "docs/segmentation-data.md", "exec"), given)
    assert given["images"].shape == (4, 1, 32, 32)
    assert given["targets"]["classes"].shape == given["targets"]["weights"].shape == (4, 32, 32)
    assert given["whole"].shape == (2, 1, 64, 96)
    assert given["parts"].known.table.classes == ("ground", "disc")
    assert given["report"]["ok"]


def test_membranes_are_read_with_slices_held_out():
    parts = load(
        Wanted(
            str(shared("membrane")),
            Crops(128, deform=10, turn=True),
            test="24-29",
            valid=0,
            classes={"cell": 255, "membrane": 0},
        )
    )
    assert (len(parts.train), len(parts.test)) == (24 * 16, 6)
    assert in_part(parts.test) == [str(i) for i in range(24, 30)]
    _, y = parts.test.batch(torch.arange(6), None)
    assert 0.19 < float((y == 1).float().mean()) < 0.24
    assert parts.notices == ()

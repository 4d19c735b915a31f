"""From a source to splits: recognition, cuts, the joint protocol, duplicates, and what is refused."""

import itertools

import numpy as np
import pytest
import torch
from data_made import noisy, shared, write_idx, write_image
from sklearn.datasets import load_digits

from concord.data.load import load
from concord.errors import DataError, ResourceError, UsageError


def rows(*parts) -> list[bytes]:
    return [image.numpy().tobytes() for part in parts for image in part.pixels]


@pytest.fixture
def idx(tmp_path):
    """100 training images of 4 classes and 20 test images, all different."""
    pixels = noisy(120)
    write_idx(tmp_path / "set", "train", pixels[:100], np.arange(100) % 4, packed=True)
    write_idx(tmp_path / "set", "t10k", pixels[100:], np.arange(20) % 4)
    return tmp_path / "set"


def test_digits_are_the_values_of_scikit_learn_times_255_over_16():
    splits = load("digits")
    assert [len(part) for part in (splits.train, splits.valid, splits.test)] == [1294, 144, 359]
    assert splits.train.classes == tuple("0123456789")
    bunch = load_digits()
    for i in (0, 100, 358):
        number = int(splits.test.names[i].removeprefix("digits[").removesuffix("]"))
        expected = (bunch.images[number] * 255 // 16).astype(int).tolist()
        assert splits.test.pixels[i, 0].tolist() == expected
        assert int(splits.test.labels[i]) == bunch.target[number]
    assert int(splits.train.pixels.max()) == 255


def test_splits_are_disjoint_and_whole(idx):
    splits = load("digits")
    names = [name for part in (splits.train, splits.valid, splits.test) for name in part.names]
    assert len(set(names)) == len(names) == 1797


def test_splits_keep_the_proportions_of_the_classes():
    splits = load("digits")
    whole = np.bincount(load_digits().target)
    for part, share in ((splits.test, 0.2), (splits.valid, 0.08), (splits.train, 0.72)):
        counts = torch.bincount(part.labels, minlength=10).numpy()
        assert np.abs(counts - whole * share).max() <= 2


def test_equal_arguments_give_equal_splits_and_another_seed_others():
    first, again, other = load("digits", seed=1), load("digits", seed=1), load("digits", seed=2)
    assert first.fingerprint == again.fingerprint != other.fingerprint
    assert torch.equal(first.train.pixels, again.train.pixels)
    assert set(first.test.names) != set(other.test.names)


def test_splitting_leaves_global_random_state_alone():
    torch.manual_seed(0)
    np.random.seed(0)  # noqa: NPY002
    before = torch.get_rng_state(), np.random.get_state()[1].tolist()  # noqa: NPY002
    load("digits", seed=5)
    assert torch.equal(before[0], torch.get_rng_state())
    assert before[1] == np.random.get_state()[1].tolist()  # noqa: NPY002


def test_no_validation_part_is_an_empty_one():
    splits = load("digits", valid=0)
    assert len(splits.valid) == 0
    assert splits.valid.pixels.shape == (0, 1, 8, 8)
    assert len(splits.train) == 1438


def test_the_official_test_part_is_kept_in_its_order(idx):
    splits = load(str(idx), test=0.5)
    assert rows(splits.test) == [image.tobytes() for image in noisy(120)[100:]]
    assert [len(splits.train), len(splits.valid)] == [90, 10]
    assert splits.test.names[3] == "t10k-images-idx3-ubyte[3]"


def test_jointly_train_and_test_are_pooled_and_cut_at_the_official_size(idx):
    splits, other = load(str(idx), joint=True), load(str(idx), joint=True, seed=1)
    assert [len(splits.train), len(splits.valid), len(splits.test)] == [90, 10, 20]
    assert sorted(rows(splits.train, splits.valid, splits.test)) == sorted(i.tobytes() for i in noisy(120))
    assert torch.bincount(splits.test.labels).tolist() == [5, 5, 5, 5]
    from_train = [name for name in splits.test.names if name.startswith("train")]
    assert 10 <= len(from_train) < 20
    assert set(rows(splits.test)) != set(rows(other.test))


def test_jointly_the_stored_order_is_shuffled(idx):
    names = list(load(str(idx), joint=True, valid=0).train.names)
    assert names != sorted(names, key=lambda name: int(name.split("[")[1][:-1]))
    assert any(b.startswith("train") for a, b in itertools.pairwise(names) if a.startswith("t10k"))


def test_jointly_without_a_test_part_says_that_nothing_changed():
    splits = load("digits", joint=True)
    assert any("joint=true changes nothing" in notice for notice in splits.notices)
    assert splits.fingerprint == load("digits").fingerprint


def test_a_prefix_names_a_pair_of_files(tmp_path):
    write_idx(tmp_path, "grey10k", noisy(50), np.arange(50) % 5, packed=True)
    for source in (tmp_path / "grey10k", tmp_path / "grey10k-images-idx3-ubyte.gz"):
        splits = load(str(source))
        assert [len(splits.train), len(splits.valid), len(splits.test)] == [36, 4, 10]


def test_a_folder_with_only_other_prefixes_says_which(tmp_path):
    write_idx(tmp_path, "grey10k", noisy(50), np.arange(50) % 5)
    with pytest.raises(DataError, match=r"under other names; give one of: .*/grey10k"):
        load(str(tmp_path))


def test_missing_labels_are_named(tmp_path):
    write_idx(tmp_path, "train", noisy(4), [0, 1, 0, 1])
    (tmp_path / "train-labels-idx1-ubyte").unlink()
    with pytest.raises(DataError, match=r"has no train-labels-idx1-ubyte\[\.gz\]"):
        load(str(tmp_path))


def test_every_wrong_file_is_reported_at_once(idx):
    (idx / "train-images-idx3-ubyte.gz").write_bytes(b"")
    (idx / "t10k-labels-idx1-ubyte").write_bytes(b"\0\0")
    with pytest.raises(DataError, match=r"(?s)train-images.*is empty.*t10k-labels.*ends inside its header"):
        load(str(idx))


def test_a_test_label_that_training_does_not_know_is_refused(idx):
    write_idx(idx, "t10k", noisy(3), [0, 1, 4])
    with pytest.raises(DataError, match=r"t10k-images-idx3-ubyte\[2\] has the label 4, expected 0 to 3"):
        load(str(idx))


def test_parts_of_different_image_size_are_refused(idx):
    write_idx(idx, "t10k", noisy(3, 5, 6), [0, 1, 2])
    with pytest.raises(DataError, match=r"differ in size \(4x4 and 6x5\)"):
        load(str(idx))


def test_images_of_one_class_are_refused(tmp_path):
    write_idx(tmp_path, "a", noisy(20), np.zeros(20))
    with pytest.raises(DataError, match="at least 2 classes"):
        load(str(tmp_path / "a"))
    write_idx(tmp_path, "b", noisy(20), np.ones(20))
    with pytest.raises(DataError, match="at least 2 classes"):
        load(str(tmp_path / "b"))


def test_a_class_without_images_and_imbalance_are_told(tmp_path):
    write_idx(tmp_path, "a", noisy(100), [0] * 96 + [3] * 4)
    notices = "\n".join(load(str(tmp_path / "a")).notices)
    assert "the training part has no image of class '1', '2'" in notices
    assert "the test part has no image of class '1', '2'" in notices
    assert "times as many training images" in notices


def test_imbalance_up_to_20_is_not_told(tmp_path):
    pixels = noisy(65)
    write_idx(tmp_path, "train", pixels[:63], [0] * 60 + [1] * 3)
    write_idx(tmp_path, "t10k", pixels[63:], [0, 1])
    assert load(str(tmp_path), valid=0).notices == ()


def test_duplicates_go_before_the_cut(tmp_path):
    pixels = noisy(100)
    write_idx(tmp_path, "a", np.concatenate([pixels, pixels[:10]]), [i % 4 for i in range(110)])
    splits = load(str(tmp_path / "a"), drop_duplicates=True)
    kept = rows(splits.train, splits.valid, splits.test)
    assert sorted(kept) == sorted(image.tobytes() for image in pixels)
    (notice,) = splits.notices
    # Image 100 + i copies image i; (100 + i) % 4 == i % 4, so no label differs.
    assert notice == "10 exact duplicates removed from the training part"


def test_duplicates_with_another_label_keep_the_first_and_say_so(tmp_path):
    pixels = noisy(40)
    write_idx(tmp_path, "a", np.concatenate([pixels, pixels[:2]]), [i % 4 for i in range(40)] + [0, 3])
    splits = load(str(tmp_path / "a"), drop_duplicates=True)
    everything = zip(
        rows(splits.train, splits.valid, splits.test),
        [int(k) for part in (splits.train, splits.valid, splits.test) for k in part.labels],
        strict=True,
    )
    assert dict(everything)[pixels[1].tobytes()] == 1
    assert "2 exact duplicates" in splits.notices[0]
    assert "1 carried another label" in splits.notices[0]
    assert "a-images-idx3-ubyte[41] = a-images-idx3-ubyte[1] ('3' and '1')" in splits.notices[0]


def test_training_images_that_stand_in_the_test_part_go_and_the_test_part_stays(idx):
    pixels = noisy(120)
    write_idx(idx, "t10k", np.concatenate([pixels[100:], pixels[:3], pixels[:1]]), np.arange(24) % 4)
    splits = load(str(idx), drop_duplicates=True, valid=0)
    assert len(splits.test) == 24
    assert len(splits.train) == 97
    assert not set(rows(splits.train)) & set(rows(splits.test))
    assert "3 exact duplicates removed from train that also stand in test" in splits.notices[0]


def test_jointly_duplicates_across_the_parts_go(idx):
    pixels = noisy(120)
    write_idx(idx, "t10k", np.concatenate([pixels[100:115], pixels[:5]]), np.arange(20) % 4)
    splits = load(str(idx), joint=True, drop_duplicates=True)
    found = rows(splits.train, splits.valid, splits.test)
    assert len(found) == len(set(found)) == 115
    assert len(splits.test) == 20


def test_arrays_are_resized_on_request(idx):
    splits = load(str(idx), size=8)
    assert splits.train.pixels.shape[1:] == splits.test.pixels.shape[1:] == (1, 8, 8)
    assert "images resized to 8x8" in splits.notices
    assert load(str(idx), size=4).notices == ()


def test_resizing_beyond_memory_is_refused(idx, monkeypatch):
    monkeypatch.setattr("concord.data.memory.available", lambda: 100_000_000)
    with pytest.raises(ResourceError, match=r"100 images of 4096x4096 needs 1\.7 GB .* --set data\.size=N"):
        load(str(idx), size=4096)


def test_a_path_that_is_not_there_is_named_with_the_nearest_one(idx):
    with pytest.raises(DataError, match=r"no file or folder .*/sett \(did you mean '.*/set'\?\)"):
        load(str(idx.parent / "sett"))
    with pytest.raises(DataError, match=r"did you mean 'digits'\?"):
        load("digit")


def test_a_folder_with_nothing_to_read_says_what_is_looked_for(tmp_path):
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(DataError, match=r"(?s)found no data in .*train-images-idx3.*CLASS/.*x_train"):
        load(str(tmp_path))


def test_a_file_that_is_no_data_says_what_is_looked_for(tmp_path):
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(DataError, match=r"(?s)notes\.txt is not data that concord reads.*x_train"):
        load(str(tmp_path / "notes.txt"))


@pytest.mark.parametrize("source", ["a\0b", "x" * 5000, ""])
def test_a_path_that_cannot_exist_is_a_data_error(source):
    with pytest.raises(DataError):
        load(source)


def test_control_characters_of_a_path_do_not_reach_the_message(tmp_path):
    with pytest.raises(DataError) as refused:
        load(str(tmp_path / "\x1b[2J\u202e"))
    assert "\x1b" not in str(refused.value)
    assert r"\x1b[2J\u202e" in str(refused.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": 0}, "data.size must be 1 to 4096, got 0"),
        ({"valid": 1.0}, "data.valid is a fraction"),
        ({"valid": float("nan")}, "data.valid is a fraction"),
        ({"valid": -0.1}, "data.valid is a fraction"),
        ({"test": 0}, "data.test is a fraction"),
        ({"test": 1}, "data.test is a fraction"),
        ({"bad_images": "ignore"}, "'error' or 'skip', got 'ignore'"),
    ],
)
def test_options_out_of_range_are_refused(options, message):
    with pytest.raises(UsageError, match=message):
        load("digits", **options)


def test_too_few_images_for_the_cut_are_refused(tmp_path):
    write_idx(tmp_path, "a", noisy(2), [0, 1])
    with pytest.raises(
        DataError, match="2 images are too few to cut 1 off for the test part: every class keeps"
    ):
        load(str(tmp_path / "a"))


@pytest.mark.parametrize(
    "name", ["with space", "naïve 猫", "line\nbreak", "esc\x1b[2J", "-dash", "[brackets]*"]
)
def test_folders_and_files_of_any_name_are_read(tmp_path, name):
    for k, colour in (("a", 10), ("b", 200)):
        for i in range(6):
            write_image(tmp_path / name / f"{name}{k}" / f"{name}{i}.png", colour + i)
    splits = load(str(tmp_path / name), valid=0)
    assert splits.train.classes == (f"{name}a", f"{name}b")
    assert len(splits.train) + len(splits.test) == 12


def test_notmnist_without_its_duplicates():
    splits = load(str(shared("notmnist") / "grey10k"), drop_duplicates=True)
    assert len(splits.train) + len(splits.valid) + len(splits.test) == 9804
    assert any(notice.startswith("196 exact duplicates removed") for notice in splits.notices)


def test_mnist_has_its_official_parts():
    splits = load(str(shared("mnist")))
    assert [len(splits.train), len(splits.valid), len(splits.test)] == [54_000, 6_000, 10_000]
    assert splits.notices == ()


def test_a_limit_leaves_so_many_training_images_of_each_class_and_nothing_else_changes(idx):
    whole, part = load(str(idx)), load(str(idx), limit=12)
    assert part.train.labels.bincount().tolist() == [3, 3, 3, 3]
    assert set(rows(part.train)) < set(rows(whole.train))
    assert rows(part.valid, part.test) == rows(whole.valid, whole.test)
    assert part.fingerprint != whole.fingerprint
    assert rows(load(str(idx), limit=12).train) == rows(part.train)
    assert rows(load(str(idx), limit=12, seed=1).train) != rows(part.train)


def test_a_limit_above_what_there_is_changes_nothing(idx):
    assert load(str(idx), limit=1000).fingerprint == load(str(idx)).fingerprint

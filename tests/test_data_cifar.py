"""CIFAR-10, binary version."""

import numpy as np
import pytest
import torch
from data_made import shared

from concord.data.images.cifar import read
from concord.data.load import load
from concord.errors import DataError

NAMES = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]


def records(labels, *, seed: int = 0) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (len(labels), 3072), dtype=np.uint8)
    return np.concatenate([np.array(labels, np.uint8)[:, None], pixels], axis=1).tobytes()


@pytest.fixture
def folder(tmp_path):
    for i in range(1, 6):
        (tmp_path / f"data_batch_{i}.bin").write_bytes(records(range(10), seed=i))
    (tmp_path / "test_batch.bin").write_bytes(records([3, 4, 5], seed=9))
    (tmp_path / "batches.meta.txt").write_text("\n".join(NAMES) + "\n\n")
    return tmp_path


def test_a_record_is_a_label_and_three_planes(tmp_path):
    record = bytes([7]) + bytes([1] * 1024) + bytes([2] * 1024) + bytes([*([3] * 33), 4, *([3] * 990)])
    (tmp_path / "batch.bin").write_bytes(record)
    images = read(tmp_path / "batch.bin")
    assert images.labels.tolist() == [7]
    assert images.pixels[0, :, 0, 0].tolist() == [1, 2, 3]
    assert torch.nonzero(images.pixels[0, 2] == 4).tolist() == [
        [1, 1]
    ]  # value 33 of a plane: row 1, column 1


def test_five_batches_are_the_training_part_and_the_sixth_the_test_part(folder):
    splits = load(str(folder), valid=0)
    assert splits.train.classes == tuple(NAMES)
    assert splits.train.pixels.shape == (50, 3, 32, 32)
    assert splits.train.names[10] == "data_batch_2.bin[0]"
    assert splits.test.labels.tolist() == [3, 4, 5]
    assert splits.train.labels.tolist() == list(range(10)) * 5


def test_the_folder_of_the_published_archive_is_found_inside(folder):
    inside = folder / "cifar-10-batches-bin"
    inside.mkdir()
    for path in list(folder.glob("*.*")):
        path.rename(inside / path.name)
    assert len(load(str(folder)).test) == 3


def test_missing_batches_and_names_are_told(folder):
    (folder / "data_batch_3.bin").unlink()
    (folder / "batches.meta.txt").unlink()
    splits = load(str(folder))
    assert splits.train.classes == tuple("0123456789")
    assert any("lacks data_batch_3.bin" in notice for notice in splits.notices)
    assert any("has no batches.meta.txt" in notice for notice in splits.notices)


def test_all_wrong_files_are_named(folder):
    (folder / "data_batch_2.bin").write_bytes(b"x" * 3072)
    (folder / "data_batch_4.bin").write_bytes(b"")
    (folder / "data_batch_5.bin").write_bytes(records([0, 12]))
    (folder / "batches.meta.txt").write_text("cat\ndog\n")
    with pytest.raises(DataError) as refused:
        load(str(folder))
    message = str(refused.value)
    assert "data_batch_2.bin has 3,072 bytes, expected a multiple of 3073" in message
    assert "data_batch_4.bin has 0 bytes" in message
    assert "data_batch_5.bin[1] has the label 12, expected 0 to 9" in message
    assert "has 2 different names, expected 10" in message


def test_real_labels_are_those_of_the_sheets():
    # The real pixels stand in JPEG sheets, which ../shared/tools/unpack_cifar10.py turns into this format.
    from concord.data.images.idx import read as read_idx

    labels = read_idx(shared("cifar10") / "train-labels-idx1-ubyte.gz", 1)
    assert np.bincount(labels).tolist() == [5000] * 10

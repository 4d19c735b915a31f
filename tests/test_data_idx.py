"""IDX files: what is read, and every way in which a file can be wrong."""

import gzip
import struct
import tracemalloc

import numpy as np
import pytest
import torch
from data_made import idx_bytes, noisy, shared, write_idx
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torchvision.datasets.mnist import read_image_file, read_label_file

from concord.data import memory
from concord.data.images.idx import read, read_pair
from concord.data.images.images import Images
from concord.errors import DataError, ResourceError

SMALL = idx_bytes([[[1, 2], [3, 4]], [[5, 6], [7, 8]]])  # two images of 2x2


def test_values_are_those_of_the_file(tmp_path):
    (tmp_path / "plain").write_bytes(SMALL)
    (tmp_path / "packed").write_bytes(gzip.compress(SMALL, mtime=0))
    for name in ("plain", "packed"):
        assert read(tmp_path / name, 3).tolist() == [[[1, 2], [3, 4]], [[5, 6], [7, 8]]]


def test_a_file_larger_than_one_chunk_is_read_whole(tmp_path):
    values = noisy(3, 700, 600)  # 1.26 million bytes
    (tmp_path / "packed").write_bytes(gzip.compress(idx_bytes(values), mtime=0))
    assert np.array_equal(read(tmp_path / "packed", 3), values)


@pytest.mark.fault(16)
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (SMALL[:3], "ends inside its header: 3 bytes of 16"),
        (SMALL[:10], "ends inside its header: 10 bytes of 16"),
        (b"\x89PNG" + SMALL[4:], "is not an IDX file: it begins with 89 50 4e 47"),
        (idx_bytes([[[1]]], kind=13), "holds floats, expected unsigned bytes"),
        (idx_bytes([[[1]]], kind=7), "holds type 0x07, expected unsigned bytes"),
        (idx_bytes([1, 2]), "has 1 dimensions, expected 3"),
        (SMALL[:-1], "is cut short: its header says 2 x 2 x 2 = 8 bytes of values, the file holds 7"),
        (SMALL + b"\0", "is too long: its header says 2 x 2 x 2 = 8 bytes of values, the file holds 9"),
        (struct.pack(">HBB3I", 0, 8, 3, 0, 28, 28), "holds no values: its size is 0 x 28 x 28"),
        (struct.pack(">HBB3I", 0, 8, 3, *[2**32 - 1] * 3) + b"x", "is cut short"),
    ],
)
def test_a_wrong_file_is_refused_with_the_reason(tmp_path, content, message):
    path = tmp_path / "train-images-idx3-ubyte"
    path.write_bytes(content)
    with pytest.raises(DataError, match="train-images-idx3-ubyte") as refused:
        read(path, 3)
    assert message in str(refused.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (gzip.compress(b"", mtime=0), "is empty"),
        (gzip.compress(SMALL, mtime=0)[:-9], "is damaged gzip"),
        (gzip.compress(SMALL, mtime=0)[:-8] + b"\0\0\0\0\x18\0\0\0", "is damaged gzip (CRC check failed"),
        (gzip.compress(SMALL[:-2], mtime=0), "is cut short: 6 bytes of values, the header says 8"),
        (gzip.compress(SMALL + b"\0" * 10**6, mtime=0), "is too long: bytes follow the 8"),
        (b"\x1f\x8b nonsense", "is damaged gzip"),
        (gzip.compress(struct.pack(">HBB3I", 0, 8, 3, 100, 1000, 1000), mtime=0), "the file holds at most"),
    ],
)
def test_a_wrong_gzip_file_is_refused_with_the_reason(tmp_path, content, message):
    (tmp_path / "images.gz").write_bytes(content)
    with pytest.raises(DataError, match=r"images\.gz") as refused:
        read(tmp_path / "images.gz", 3)
    assert message in str(refused.value)


@pytest.mark.fault(17)
def test_a_bomb_is_not_unpacked_beyond_what_its_header_says(tmp_path):
    bomb = gzip.compress(SMALL + b"\0" * 50_000_000, mtime=0)  # 49 kB
    (tmp_path / "bomb.gz").write_bytes(bomb)
    tracemalloc.start()
    with pytest.raises(DataError, match="too long"):
        read(tmp_path / "bomb.gz", 3)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2_000_000


def test_what_does_not_fit_in_memory_is_refused_before_it_is_read(tmp_path, monkeypatch):
    (tmp_path / "images").write_bytes(SMALL)
    monkeypatch.setattr(memory, "available", lambda: 7)
    with pytest.raises(ResourceError, match="needs 8 bytes of memory, 7 bytes are available"):
        read(tmp_path / "images", 3)


def test_a_folder_in_place_of_a_file_is_refused(tmp_path):
    with pytest.raises(DataError, match="cannot be read: Is a directory"):
        read(tmp_path, 3)


def test_a_pair_becomes_named_images(tmp_path):
    write_idx(tmp_path, "train", noisy(3), [0, 2, 1])
    images = read_pair(tmp_path / "train-images-idx3-ubyte", tmp_path / "train-labels-idx1-ubyte")
    assert images.pixels.shape == (3, 1, 4, 4)
    assert images.labels.tolist() == [0, 2, 1]
    assert images.classes == ("0", "1", "2")
    assert images.names[-1] == "train-images-idx3-ubyte[2]"


@pytest.mark.fault(14)
def test_files_of_different_lengths_are_refused(tmp_path):
    write_idx(tmp_path, "train", noisy(3), [0, 1])
    with pytest.raises(DataError, match=r"holds 3 images, .* 2 labels: the two files do not belong together"):
        read_pair(tmp_path / "train-images-idx3-ubyte", tmp_path / "train-labels-idx1-ubyte")


@pytest.mark.fault(16)
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    edits=st.lists(st.tuples(st.integers(0, 200), st.integers(0, 255)), max_size=4),
    length=st.integers(0, 200),
    packed=st.booleans(),
    late=st.booleans(),
)
def test_any_damage_gives_images_or_a_data_error(tmp_path, edits, length, packed, late):
    whole = idx_bytes(noisy(2, 8, 8))
    content = bytearray(gzip.compress(whole, mtime=0) if packed and late else whole)[:length]
    for place, value in edits:
        if place < len(content):
            content[place] = value
    images, labels = tmp_path / "images", tmp_path / "labels"
    images.write_bytes(gzip.compress(bytes(content), mtime=0) if packed and not late else content)
    labels.write_bytes(idx_bytes([0, 1]))
    tracemalloc.start()
    refused = str(tmp_path)
    try:
        assert isinstance(read_pair(images, labels), Images)
    except DataError as error:
        refused = str(error)
    assert str(tmp_path) in refused
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4_000_000


def test_mnist_reads_as_torchvision_reads_it(tmp_path):
    folder = shared("mnist")
    for part in ("train", "t10k"):
        paths = [folder / f"{part}-{kind}-ubyte.gz" for kind in ("images-idx3", "labels-idx1")]
        plain = [tmp_path / path.stem for path in paths]
        for path, unpacked in zip(paths, plain, strict=True):
            unpacked.write_bytes(gzip.decompress(path.read_bytes()))
        ours = read_pair(*paths)
        assert torch.equal(ours.pixels.squeeze(1), read_image_file(str(plain[0])))
        assert torch.equal(ours.labels, read_label_file(str(plain[1])))

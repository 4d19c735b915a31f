"""NPZ files: what is read, and archives that lie, hide code or hold something else."""

import io
import pickle
import zipfile

import numpy as np
import pytest
from data_made import noisy

from concord.data.load import load
from concord.errors import DataError, ResourceError

X, Y = noisy(20), np.arange(20) % 4


def save(path, compressed: bool = True, **arrays):
    (np.savez_compressed if compressed else np.savez)(path, **arrays)
    return str(path)


def npy(shape, descr: str = "|u1", body: bytes = b"") -> bytes:
    out = io.BytesIO()
    np.lib.format.write_array_header_1_0(out, {"shape": shape, "fortran_order": False, "descr": descr})
    return out.getvalue() + body


def archive(path, **entries: bytes) -> str:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as out:
        for name, body in entries.items():
            out.writestr(f"{name}.npy", body)
    return str(path)


@pytest.mark.parametrize("compressed", [True, False])
def test_the_layout_of_keras_has_two_parts(tmp_path, compressed):
    source = save(
        tmp_path / "a.npz", compressed, x_train=X, y_train=Y, x_test=X[:4] ^ 255, y_test=Y[:4, None]
    )
    splits = load(source, valid=0)
    assert splits.train.pixels[:, 0].tolist() == X.tolist()
    assert splits.train.labels.tolist() == Y.tolist()
    assert splits.test.pixels[:, 0].tolist() == (X[:4] ^ 255).tolist()
    assert splits.test.names[2] == "a.npz:x_test[2]"


@pytest.mark.parametrize("name", ["val", "valid"])
def test_a_validation_part_is_kept(tmp_path, name):
    held = {f"x_{name}": X[:6] ^ 255, f"y_{name}": Y[:6]}
    splits = load(save(tmp_path / "a.npz", x_train=X, y_train=Y, **held), test=0.2)
    assert splits.valid.pixels[:, 0].tolist() == (X[:6] ^ 255).tolist()
    assert (len(splits.train), len(splits.test)) == (16, 4)


def test_arrays_that_are_no_part_are_named(tmp_path):
    splits = load(save(tmp_path / "a.npz", images=X, labels=Y, weights=np.ones(20), age=np.ones(20)))
    assert "arrays ignored: age, weights" in splits.notices
    both = load(save(tmp_path / "b.npz", images=X, labels=Y, x_train=X[:10], y_train=Y[:10]), valid=0)
    assert (len(both.train) + len(both.test), both.notices[0]) == (10, "arrays ignored: images, labels")
    named = load(save(tmp_path / "c.npz", x_train=X, y_train=Y, labels=np.array(["cat", "dog"])))
    assert "arrays ignored: labels" in named.notices


def test_half_a_part_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"a\.npz has x_test without y_test: add it, or leave x_test out"):
        load(save(tmp_path / "a.npz", x_train=X, y_train=Y, x_test=X))
    with pytest.raises(DataError, match="has y_val without x_val"):
        load(save(tmp_path / "a.npz", x_train=X, y_train=Y, y_val=Y))


def test_images_and_labels_have_no_test_part(tmp_path):
    splits = load(save(tmp_path / "a.npz", images=X, labels=Y.astype(np.uint8), more=np.zeros(3)))
    assert [len(splits.train), len(splits.valid), len(splits.test)] == [14, 2, 4]


def test_colour_comes_last_in_the_file_and_first_in_the_tensor(tmp_path):
    colour = np.stack([X, X // 2, X // 3], axis=-1)
    splits = load(save(tmp_path / "a.npz", x_train=colour, y_train=Y, x_test=colour, y_test=Y), valid=0)
    assert splits.test.pixels.shape == (20, 3, 4, 4)
    assert splits.test.pixels[:, 2].tolist() == (X // 3).tolist()


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"a": X, "b": Y}, r"holds a, b; expected x_train, y_train, x_test, y_test or images, labels"),
        ({"images": X}, "holds images; expected"),
        ({"images": X / 255, "labels": Y}, "images is float64, expected uint8"),
        ({"images": X.reshape(20, 16), "labels": Y}, r"has shape \(20, 16\), expected \(N, H, W\)"),
        ({"images": X.reshape(20, 2, 2, 4), "labels": Y}, r"expected \(N, H, W\) or \(N, H, W, 1 or 3\)"),
        ({"images": X, "labels": Y[:19]}, "20 images but 19 labels"),
        ({"images": X, "labels": Y - 1}, r"a\.npz:images\[0\] has the label -1"),
        ({"images": X, "labels": Y * 1.0}, "must be stored as integers, not float64"),
        ({"images": X, "labels": np.eye(4)[Y]}, r"one whole number per image, got shape \(20, 4\)"),
        ({"images": X, "labels": np.array(list("abcd") * 5)}, "must be stored as integers"),
        ({"images": X[:0], "labels": Y[:0]}, "holds no labels"),
        ({"x_train": X, "y_train": Y, "x_test": X[:, :3], "y_test": Y}, "differ in size"),
        (
            {"x_train": X, "y_train": Y, "x_test": X[:1], "y_test": [4]},
            r"x_test\[0\] has the label 4, expected 0 to 3",
        ),
    ],
)
def test_wrong_arrays_are_refused(tmp_path, arrays, message):
    with pytest.raises(DataError, match=message):
        load(save(tmp_path / "a.npz", **arrays))


class Trap:
    """Unpickling this would leave a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


@pytest.mark.fault(18)
def test_objects_are_refused_and_never_unpickled(tmp_path):
    sentinel = tmp_path / "sentinel"
    trap = np.array([Trap(sentinel)], dtype=object)
    with pytest.raises(DataError, match="labels holds Python objects"):
        load(save(tmp_path / "a.npz", images=X, labels=trap))
    (tmp_path / "b.npz").write_bytes(pickle.dumps(Trap(sentinel)))
    with pytest.raises(DataError, match="is not data that concord reads"):
        load(str(tmp_path / "b.npz"))
    assert not sentinel.exists()


def test_an_array_header_that_promises_more_than_there_is_is_refused(tmp_path):
    source = archive(
        tmp_path / "a.npz", images=npy((10**6, 1000, 1000), body=b"x"), labels=npy((1,), body=b"\0")
    )
    with pytest.raises(
        DataError, match=r"images says \(1000000, 1000, 1000\) of uint8, .* the 1 bytes there are"
    ):
        load(source)


@pytest.mark.fault(17)
def test_a_zip_entry_that_promises_too_much_is_refused(tmp_path):
    source = tmp_path / "a.npz"
    save(source, images=X, labels=Y)
    content = bytearray(source.read_bytes())
    place = content.rindex(b"PK\x01\x02", 0, content.rindex(b"PK\x01\x02")) + 24  # images: size when unpacked
    content[place : place + 4] = (2**31).to_bytes(4, "little")
    source.write_bytes(content)
    with pytest.raises(DataError, match=r"images would grow from .* to 2\.1 GB when unpacked"):
        load(str(source))


def test_what_does_not_fit_in_memory_is_refused_before_it_is_unpacked(tmp_path, monkeypatch):
    source = save(tmp_path / "a.npz", images=np.zeros((100, 50, 50), np.uint8), labels=np.arange(100) % 2)
    monkeypatch.setattr("concord.data.memory.available", lambda: 400_000)
    with pytest.raises(ResourceError, match=r"a\.npz needs 502\.1 kB of memory"):
        load(source)


def crowded(path, count: int, said: int | None = None) -> str:
    """Arrays among so many entries, of which the end of the file may say another number."""
    save(path, compressed=False, images=X, labels=Y)
    with zipfile.ZipFile(path, "a") as out:
        for i in range(count - 2):
            out.writestr(f"{i}.npy", b"")
    if said is not None:
        content = bytearray(path.read_bytes())
        place = content.rindex(b"PK\x05\x06") + 8  # entries on this disk, entries in all
        content[place : place + 4] = said.to_bytes(2, "little") * 2
        path.write_bytes(content)
    return str(path)


@pytest.mark.parametrize("said", [None, 2, 1000])
def test_more_than_a_thousand_entries_are_refused_whatever_the_file_says(tmp_path, said):
    assert len(load(crowded(tmp_path / "a.npz", 1000), valid=0).train) == 16
    with pytest.raises(DataError, match=r"b\.npz lists more than 1,000 entries .* one for each array"):
        load(crowded(tmp_path / "b.npz", 1001, said))


@pytest.mark.parametrize("said", [None, 2])
def test_a_long_list_of_entries_is_refused_before_it_is_read(tmp_path, monkeypatch, said):
    source = crowded(tmp_path / "a.npz", 25_000, said)
    listed = []

    class Counted(zipfile.ZipInfo):
        def __init__(self, *arguments):
            super().__init__(*arguments)
            listed.append(self.filename)

    monkeypatch.setattr(zipfile, "ZipInfo", Counted)
    with pytest.raises(DataError, match=r"a\.npz lists more than 1,000 entries"):
        load(source)
    assert listed == []


@pytest.mark.parametrize("share", [0.2, 0.5, 0.9, 0.999])
def test_a_file_cut_short_is_a_data_error(tmp_path, share):
    source = tmp_path / "a.npz"
    save(source, images=X, labels=Y)
    source.write_bytes(source.read_bytes()[: int(source.stat().st_size * share)])
    with pytest.raises(DataError):
        load(str(source))


def test_a_changed_byte_is_a_data_error(tmp_path):
    source = tmp_path / "a.npz"
    save(source, images=X, labels=Y)
    content = bytearray(source.read_bytes())
    for place in range(60, 300, 12):
        content[place] ^= 0xFF
    source.write_bytes(content)
    with pytest.raises(DataError, match=r"a\.npz is damaged"):
        load(str(source))

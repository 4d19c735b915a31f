"""Fetching: no test opens a connection; archives are crafted here."""

import gzip
import io
import tarfile
from http.client import BadStatusLine
from urllib.error import URLError

import numpy as np
import pytest
from data_made import idx_bytes, noisy
from run_made import file_limit
from torchvision import datasets

from concord.data.images import get as room
from concord.data.load import load
from concord.errors import DataError, ResourceError, UsageError

RECORDS = np.concatenate(
    [np.arange(10, dtype=np.uint8)[:, None], noisy(10, 32, 96).reshape(10, 3072)], axis=1
).tobytes()
NAMES = "\n".join("abcdefghij").encode()


def entry(name: str, content: bytes = b"", **attributes) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    for key, value in attributes.items():
        setattr(info, key, value)
    return info, content


def archive(*entries: tuple[tarfile.TarInfo, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as tar:
        for info, content in entries:
            tar.addfile(info, io.BytesIO(content))
    return out.getvalue()


def honest() -> list[tuple[tarfile.TarInfo, bytes]]:
    inside = "cifar-10-batches-bin"
    files = dict.fromkeys((*room.cifar.BATCHES, "test_batch.bin"), RECORDS)
    files |= {"batches.meta.txt": NAMES, "readme.html": b"<html>"}
    return [
        entry(inside, type=tarfile.DIRTYPE),
        *(entry(f"{inside}/{name}", body) for name, body in files.items()),
    ]


def test_idx_sets_are_fetched_from_torchvisions_addresses(tmp_path, monkeypatch):
    asked = []

    def fetch(url, root, filename, md5):
        asked.append((url, md5))
        array = noisy(20) if "images" in filename else np.arange(20) % 10
        room.Path(root).mkdir(exist_ok=True)
        (room.Path(root) / filename).write_bytes(gzip.compress(idx_bytes(array)))

    monkeypatch.setattr(room, "download_url", fetch)
    folder = room.get("fashionmnist", tmp_path / "f")
    assert folder == tmp_path / "f"
    assert [md5 for _, md5 in asked] == [md5 for _, md5 in datasets.FashionMNIST.resources]
    assert asked[0][0] == datasets.FashionMNIST.mirrors[0] + "train-images-idx3-ubyte.gz"
    assert len(load(str(folder)).test) == 20


def test_cifar_is_fetched_as_binary_version_and_read(tmp_path, monkeypatch):
    content = archive(*honest())
    calls = []

    def fetch(url, root, filename, md5):
        calls.append((url, md5))
        room.Path(root).mkdir(exist_ok=True)
        (room.Path(root) / filename).write_bytes(content)

    monkeypatch.setattr(room, "download_url", fetch)
    splits = load(str(room.get("cifar10", tmp_path / "c")))
    assert splits.train.classes == tuple("abcdefghij")
    assert [len(splits.train) + len(splits.valid), len(splits.test)] == [50, 10]
    room.get("cifar10", tmp_path / "c")
    expected = "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz", "c32a1d4ab5d03f1284b67883e8d87530"
    assert calls == [expected]  # the second call found everything in place


def test_a_failing_mirror_is_followed_by_the_next(tmp_path, monkeypatch):
    asked = []

    def fetch(url, root, filename, md5):
        asked.append(url)
        if url.startswith(datasets.MNIST.mirrors[0]):
            raise URLError("no route")

    monkeypatch.setattr(room, "download_url", fetch)
    room.get("mnist", tmp_path)
    assert len(asked) == 8


@pytest.mark.parametrize(
    "fault",
    [URLError("Name or service not known"), RuntimeError("File not found or corrupted."), BadStatusLine("x")],
)
def test_without_a_network_the_error_says_what_to_do(tmp_path, monkeypatch, fault):
    def fetch(*_, **__):
        raise fault

    monkeypatch.setattr(room, "download_url", fetch)
    with pytest.raises(DataError) as refused:
        room.get("kmnist", tmp_path / "k")
    message = str(refused.value)
    assert str(getattr(fault, "reason", fault)) in message
    assert "check the network, or fetch it on another computer from http" in message
    assert str(tmp_path / "k") in message


class Response(io.BytesIO):
    """What urlopen gives for a file of 100 kB."""

    url, length = None, 100_000

    def __init__(self):
        super().__init__(bytes(self.length))


def opened(monkeypatch):
    """torchvision's own downloading, but for the connection; gives the addresses that were asked for."""
    asked = []
    monkeypatch.setattr("urllib.request.urlopen", lambda r: (asked.append(r.full_url), Response())[1])
    return asked


@pytest.mark.parametrize("name", ["mnist", "cifar10"])
def test_a_full_disk_is_no_matter_of_the_network(tmp_path, monkeypatch, name):
    asked = opened(monkeypatch)
    with file_limit(10_000), pytest.raises(ResourceError) as refused:
        room.get(name, tmp_path / "d")
    message = str(refused.value)
    assert len(set(asked)) <= 2  # no other mirror; torchvision tries https and http
    assert message.startswith(f"{tmp_path}/d/")
    assert "File too large; " in message
    assert f" free in {tmp_path}/d); make room, or choose another folder with --into" in message
    assert "network" not in message
    assert list((tmp_path / "d").iterdir()) == []


def test_a_folder_that_cannot_be_made_is_no_matter_of_the_network(tmp_path, monkeypatch):
    opened(monkeypatch)
    (tmp_path / "file").touch()
    with pytest.raises(
        ResourceError, match=r"file/d/train\S+ cannot be written \(Not a directory; .* --into"
    ):
        room.get("mnist", tmp_path / "file" / "d")


def test_a_connection_that_breaks_is_a_matter_of_the_network(tmp_path, monkeypatch):
    def broken(self, size=-1):
        raise ConnectionResetError(104, "Connection reset by peer")

    opened(monkeypatch)
    monkeypatch.setattr(Response, "read", broken)
    with pytest.raises(DataError, match=r"Connection reset by peer.*check the network"):
        room.get("mnist", tmp_path)


def test_a_disk_that_is_full_while_an_archive_unfolds_is_told_and_nothing_is_left(tmp_path):
    (tmp_path / "a.tar.gz").write_bytes(archive(*honest()))
    with file_limit(100_000), pytest.raises(ResourceError, match=r"File too large; .* free in .*make room"):
        room.unpack(tmp_path / "a.tar.gz", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["a.tar.gz"]


def test_an_unknown_name_is_refused_with_a_suggestion(tmp_path):
    with pytest.raises(
        UsageError, match=r"no data set 'mnits' \(did you mean 'mnist'\?\); there are: mnist, "
    ):
        room.get("mnits", tmp_path)


INSIDE = "cifar-10-batches-bin/"


@pytest.mark.fault(17)
@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (entry("../outside", b"x"), "which does not belong there"),
        (entry(INSIDE + "../../outside", b"x"), "which does not belong there"),
        (entry("/tmp/outside", b"x"), "which does not belong there"),
        (entry(INSIDE + "data_batch_1.bin", type=tarfile.SYMTYPE, linkname="/etc/passwd"), "does not belong"),
        (entry(INSIDE + "data_batch_1.bin", type=tarfile.LNKTYPE, linkname="../x"), "does not belong"),
        (entry(INSIDE + "data_batch_1.bin", type=tarfile.CHRTYPE), "does not belong"),
        (entry(INSIDE + "data_batch_1.bin", type=tarfile.FIFOTYPE), "does not belong"),
        (entry(INSIDE + "evil\x1b.pkl", b"x"), r"evil\\x1b\.pkl"),
        (entry(INSIDE + "test_batch.bin", b"again"), "does not belong"),
    ],
)
def test_an_archive_with_a_wrong_entry_leaves_nothing_behind(tmp_path, wrong, message):
    folder = tmp_path / "set"
    folder.mkdir()
    special = not wrong[0].isreg()  # then it takes the place of the regular file of that name
    others = [pair for pair in honest() if not (special and pair[0].name == wrong[0].name)]
    (folder / "a.tar.gz").write_bytes(archive(*others, wrong))
    with pytest.raises(DataError, match=message):
        room.unpack(folder / "a.tar.gz", folder)
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["a.tar.gz", "set"]


@pytest.mark.fault(17)
def test_a_bomb_is_stopped_while_it_unfolds(tmp_path, monkeypatch):
    monkeypatch.setattr(room, "LARGEST_ARCHIVE", 3_000_000)
    (tmp_path / "a.tar.gz").write_bytes(gzip.compress(b"\0" * 60_000_000))
    with pytest.raises(DataError, match="unpacks to more than 3,000,000 bytes"):
        room.unpack(tmp_path / "a.tar.gz", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["a.tar.gz"]


@pytest.mark.parametrize(
    "damage", [lambda c: c[: len(c) // 2], lambda c: b"nonsense", lambda c: gzip.compress(b"x" * 2000)]
)
def test_a_damaged_archive_is_a_data_error(tmp_path, damage):
    (tmp_path / "a.tar.gz").write_bytes(damage(archive(*honest())))
    with pytest.raises(DataError, match="cannot be unpacked"):
        room.unpack(tmp_path / "a.tar.gz", tmp_path)


def test_the_limit_holds_the_published_archive():
    assert room.LARGEST_ARCHIVE > 6 * 30_730_000 + 8 * 512 + 61 + 88

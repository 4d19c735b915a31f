"""Fetching: connections go no further than this machine; archives are crafted here."""

import gzip
import hashlib
import io
import tarfile
import threading
from http.client import BadStatusLine
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace
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


def md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def idx_files() -> dict[str, bytes]:
    """The four files of an IDX set: 20 images for training and 10 for testing."""
    pixels, labels = noisy(20), np.arange(20) % 10
    arrays = {"train-images-idx3": pixels, "train-labels-idx1": labels}
    arrays |= {"t10k-images-idx3": pixels[:10], "t10k-labels-idx1": labels[:10]}
    return {f"{name}-ubyte.gz": gzip.compress(idx_bytes(array), mtime=0) for name, array in arrays.items()}


@pytest.fixture
def served(monkeypatch):
    """A mirror on this machine for MNIST and CIFAR-10; gives the files, and what was asked for."""
    files = idx_files() | {room.CIFAR_ARCHIVE: archive(*honest())}
    asked = []

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self):
            name = self.path.lstrip("/")
            asked.append(name)
            self.send_response(200 if name in files else 404)
            self.send_header("Content-Length", str(len(files.get(name, b""))))
            self.end_headers()
            self.wfile.write(files.get(name, b""))

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        thread = threading.Thread(target=server.serve_forever, args=[0.01])
        thread.start()
        address = f"http://127.0.0.1:{server.server_port}/"
        resources = [(name, md5(content)) for name, content in files.items() if "idx" in name]
        monkeypatch.setattr(datasets.MNIST, "mirrors", [address])
        monkeypatch.setattr(datasets.MNIST, "resources", resources)
        monkeypatch.setattr(room, "CIFAR_ADDRESS", address)
        monkeypatch.setattr(room, "CIFAR_MD5", md5(files[room.CIFAR_ARCHIVE]))
        try:
            yield SimpleNamespace(files=files, asked=asked, address=address)
        finally:
            server.shutdown()
            thread.join()


def test_idx_sets_are_fetched_from_torchvisions_addresses(tmp_path, monkeypatch):
    asked, made = [], idx_files()

    def fetch(address, target, digest, most):
        asked.append((address, digest))
        target.write_bytes(made[target.name])

    monkeypatch.setattr(room, "download", fetch)
    folder = room.get("fashionmnist", tmp_path / "f")
    assert folder == tmp_path / "f"
    assert [digest for _, digest in asked] == [digest for _, digest in datasets.FashionMNIST.resources]
    assert asked[0][0] == datasets.FashionMNIST.mirrors[0] + "train-images-idx3-ubyte.gz"
    assert len(load(str(folder)).test) == 10


def test_the_published_addresses_of_cifar():
    assert (
        room.CIFAR_ADDRESS + room.CIFAR_ARCHIVE == "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz"
    )
    assert room.CIFAR_MD5 == "c32a1d4ab5d03f1284b67883e8d87530"
    assert room.LARGEST_CIFAR > 170_052_171
    assert room.LARGEST_IDX > 26_421_880


def test_a_set_is_fetched_once_and_read(tmp_path, served):
    splits = load(str(room.get("mnist", tmp_path / "m")))
    assert [len(splits.train) + len(splits.valid), len(splits.test)] == [20, 10]
    assert served.asked == [name for name, _ in datasets.MNIST.resources]
    room.get("mnist", tmp_path / "m")
    assert len(served.asked) == 4  # the second call found everything in place
    assert sorted(path.name for path in (tmp_path / "m").iterdir()) == sorted(served.asked)


def test_cifar_is_fetched_as_binary_version_once_and_read(tmp_path, served):
    splits = load(str(room.get("cifar10", tmp_path / "c")))
    assert splits.train.classes == tuple("abcdefghij")
    assert [len(splits.train) + len(splits.valid), len(splits.test)] == [50, 10]
    room.get("cifar10", tmp_path / "c")
    assert served.asked == [room.CIFAR_ARCHIVE]


DAMAGES = {
    "empty": lambda content: b"",
    "cut": lambda content: content[: len(content) // 2],
    "one bit": lambda content: content[:-5] + bytes([content[-5] ^ 1]) + content[-4:],
    "longer": lambda content: content + b"x",
}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("name", ["train-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz"])
def test_a_file_that_is_there_and_damaged_is_fetched_again(name, damage, tmp_path, served):
    room.get("mnist", tmp_path)
    (tmp_path / name).write_bytes(DAMAGES[damage](served.files[name]))
    served.asked.clear()
    room.get("mnist", tmp_path)
    assert served.asked == [name]
    assert (tmp_path / name).read_bytes() == served.files[name]


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("name", ["data_batch_3.bin", "test_batch.bin", "batches.meta.txt"])
def test_a_damaged_file_of_cifar_is_unpacked_again_or_fetched(name, damage, tmp_path, served):
    room.get("cifar10", tmp_path)
    whole = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(DAMAGES[damage](whole))
    room.get("cifar10", tmp_path)
    assert (tmp_path / name).read_bytes() == whole
    (tmp_path / name).unlink()
    (tmp_path / room.CIFAR_ARCHIVE).write_bytes(DAMAGES[damage](served.files[room.CIFAR_ARCHIVE]))
    room.get("cifar10", tmp_path)
    assert (tmp_path / name).read_bytes() == whole
    assert served.asked == [room.CIFAR_ARCHIVE] * 2


def test_without_a_network_what_cannot_be_compared_is_not_called_ready(tmp_path, served):
    room.get("cifar10", tmp_path)
    (tmp_path / room.CIFAR_ARCHIVE).unlink()
    del served.files[room.CIFAR_ARCHIVE]
    with pytest.raises(
        DataError, match=r"Not Found.*\n.*compared with the archive only; `concord data check"
    ):
        room.get("cifar10", tmp_path)
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "train-images-idx3-ubyte.gz").touch()
    served.files.clear()
    with pytest.raises(DataError, match=r"m/train-images-idx3-ubyte.gz is not the published file, and"):
        room.get("mnist", tmp_path / "m")


def test_an_unpacked_file_beside_the_fetched_one_is_compared_if_it_would_be_read(tmp_path, served):
    room.get("mnist", tmp_path)
    (tmp_path / "t10k-images.idx3-ubyte").touch()  # the fetched one comes first
    plain = tmp_path / "t10k-images-idx3-ubyte"
    values = gzip.decompress(served.files["t10k-images-idx3-ubyte.gz"])
    plain.write_bytes(values)
    room.get("mnist", tmp_path)
    plain.write_bytes(values[:-1] + bytes([values[-1] ^ 1]))
    with pytest.raises(DataError, match=r"images-idx3-ubyte would be read in place of t10k.*; remove it"):
        room.get("mnist", tmp_path)
    plain.write_bytes(b"")
    with pytest.raises(DataError, match="is empty"):
        room.get("mnist", tmp_path)


def test_cifar_is_not_put_beside_what_would_be_read_in_its_place(tmp_path, served):
    room.get("mnist", tmp_path)
    with pytest.raises(DataError, match=r"holds IDX files, which would be read in place of CIFAR-10.*--into"):
        room.get("cifar10", tmp_path)


def test_a_failing_mirror_is_followed_by_the_next(tmp_path, served, monkeypatch):
    monkeypatch.setattr(datasets.MNIST, "mirrors", [served.address + "gone/", served.address])
    room.get("mnist", tmp_path)
    assert len(served.asked) == 8


@pytest.mark.parametrize(
    "fault",
    [
        URLError("Name or service not known"),
        BadStatusLine("x"),
        TimeoutError("no answer for 20 s"),
        ConnectionResetError(104, "Connection reset by peer"),
    ],
)
def test_without_a_network_the_error_says_what_to_do(tmp_path, monkeypatch, fault):
    def fetch(*_, **__):
        raise fault

    monkeypatch.setattr(room, "download", fetch)
    with pytest.raises(DataError) as refused:
        room.get("kmnist", tmp_path / "k")
    message = str(refused.value)
    assert str(getattr(fault, "reason", fault)) in message
    assert "check the network, or fetch it on another computer from http" in message
    assert str(tmp_path / "k") in message


@pytest.mark.parametrize("name", ["mnist", "cifar10"])
def test_a_full_disk_is_no_matter_of_the_network(tmp_path, served, monkeypatch, name):
    monkeypatch.setattr(datasets.MNIST, "mirrors", [served.address, served.address + "other/"])
    with file_limit(100), pytest.raises(ResourceError) as refused:
        room.get(name, tmp_path / "d")
    message = str(refused.value)
    assert len(served.asked) == 1  # no other mirror
    assert message.startswith(f"{tmp_path}/d/")
    assert "File too large; " in message
    assert f" free in {tmp_path}/d); make room, or choose another folder with --into" in message
    assert "network" not in message
    assert list((tmp_path / "d").iterdir()) == []


def test_a_folder_that_cannot_be_made_is_no_matter_of_the_network(tmp_path, served):
    (tmp_path / "file").touch()
    with pytest.raises(
        ResourceError, match=r"file/d/train\S+ cannot be written \((Not a directory|File exists); .* --into"
    ):
        room.get("mnist", tmp_path / "file" / "d")


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

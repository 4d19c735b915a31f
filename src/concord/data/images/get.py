"""Fetch public data sets, for users with a network: the only module of this room that opens a connection.

Addresses and checksums of the IDX sets are torchvision's. Of CIFAR-10 the binary version is fetched
(https://www.cs.toronto.edu/~kriz/cifar.html), because torchvision's python version is pickle.
"""

import errno
import gzip
import shutil
import tarfile
import tempfile
import zlib
from http.client import HTTPException
from pathlib import Path
from typing import TypeGuard
from urllib.error import URLError

from torchvision import datasets
from torchvision.datasets.utils import download_url

from concord.data import memory
from concord.data.images import cifar
from concord.errors import ConcordError, DataError, ResourceError, UsageError, suggestion
from concord.files.atomic import unfinished
from concord.files.text import printable

IDX = {"mnist": datasets.MNIST, "fashionmnist": datasets.FashionMNIST, "kmnist": datasets.KMNIST}
NAMES = (*IDX, "cifar10")
CIFAR_ADDRESS = "https://www.cs.toronto.edu/~kriz/"
CIFAR_ARCHIVE = "cifar-10-binary.tar.gz"
CIFAR_MD5 = "c32a1d4ab5d03f1284b67883e8d87530"
CIFAR_FILES = frozenset((*cifar.BATCHES, "test_batch.bin", cifar.NAMES, "readme.html"))
LARGEST_ARCHIVE = 6 * 10_000 * cifar.RECORD + (1 << 20)
CHUNK = 1 << 20
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
REFUSED = (*FULL, errno.EACCES, errno.EPERM, errno.EROFS)


def get(name: str, into: Path) -> Path:
    """Fetch the set into the folder ``into``, compare checksums, and return that folder for ``load``.

    Files that are there and whole are not fetched again. Raises UsageError for an unknown name,
    DataError if nothing can be fetched or the archive is not what it should be, ResourceError if the disk
    is full or cannot be written to.
    """
    if name not in NAMES:
        raise UsageError(f"no data set {name!r}{suggestion(name, NAMES)}; there are: {', '.join(NAMES)}")
    if name == "cifar10":
        return _get_cifar(into)
    for file, md5 in IDX[name].resources:
        _fetch(list(IDX[name].mirrors), into, file, md5)
    return into


def _fetch(mirrors: list[str], folder: Path, file: str, md5: str) -> None:
    reasons = []
    for mirror in mirrors:
        try:
            download_url(mirror + file, str(folder), filename=file, md5=md5)
        except (OSError, RuntimeError, ValueError, HTTPException) as error:
            if _of_disk(error):
                if error.errno in FULL:
                    (folder / file).unlink(missing_ok=True)  # the part that was written fills the disk
                raise _no_room(folder / file, error) from error
            reasons.append(f"{mirror}: {printable(getattr(error, 'reason', error))}")
        else:
            return
    raise DataError(
        f"{file} could not be fetched ({'; '.join(reasons)}); check the network, or fetch it on another "
        f"computer from {mirrors[0]}{file} and put it into {printable(folder)}"
    )


def _of_disk(error: Exception) -> TypeGuard[OSError]:
    """Whether the disk failed and not the network, whose errors name no file."""
    if isinstance(error, URLError) or not isinstance(error, OSError):
        return False
    return error.filename is not None or error.errno in FULL


def _no_room(file: Path, error: OSError) -> ResourceError:
    there = next(path for path in file.absolute().parents if path.is_dir())
    free = memory.size(shutil.disk_usage(there).free)
    return ResourceError(
        f"{printable(file)} cannot be written ({error.strerror}; {free} free in {printable(there)}); "
        "make room, or choose another folder with --into"
    )


def _get_cifar(folder: Path) -> Path:
    if not all((folder / file).is_file() for file in CIFAR_FILES - {"readme.html"}):
        _fetch([CIFAR_ADDRESS], folder, CIFAR_ARCHIVE, CIFAR_MD5)
        unpack(folder / CIFAR_ARCHIVE, folder)
    return folder


def unpack(archive: Path, folder: Path) -> None:
    """Put the files of the CIFAR-10 archive into ``folder``, all of them or none.

    Raises DataError for links, devices, paths that lead elsewhere, unknown or repeated names, and for
    more bytes than the eight known regular files have; ResourceError if the disk has no room for them.
    """
    try:
        with tempfile.TemporaryDirectory(dir=folder) as aside, unfinished(Path(aside)):
            plain = Path(aside) / "archive.tar"
            _gunzip(archive, plain)
            with tarfile.open(plain, "r:") as tar:
                tar.extractall(aside, members=_entries(tar, archive), filter="data")
            for file in (Path(aside) / cifar.FOLDER).iterdir():
                shutil.move(file, folder / file.name)
    except ConcordError:
        raise
    except (tarfile.TarError, OSError, EOFError, zlib.error) as error:
        if isinstance(error, OSError) and error.errno in REFUSED:
            raise _no_room(folder / cifar.FOLDER, error) from error
        raise DataError(f"{printable(archive)} cannot be unpacked ({error}); fetch it again") from error


def _gunzip(archive: Path, plain: Path) -> None:
    # First as a whole and counted: tarfile itself would unpack any amount while it looks for entries.
    with gzip.open(archive) as packed, plain.open("wb") as out:
        while piece := packed.read(CHUNK):
            out.write(piece)
            if out.tell() > LARGEST_ARCHIVE:
                raise DataError(
                    f"{printable(archive)} unpacks to more than {LARGEST_ARCHIVE:,} bytes; remove it"
                )


def _entries(tar: tarfile.TarFile, archive: Path) -> list[tarfile.TarInfo]:
    entries = [entry for entry in tar if not (entry.isdir() and entry.name.rstrip("/") == cifar.FOLDER)]
    for i, entry in enumerate(entries):
        folder, _, name = entry.name.rpartition("/")
        known = entry.isreg() and folder == cifar.FOLDER and name in CIFAR_FILES
        if not known or entry.name in {other.name for other in entries[:i]}:
            raise DataError(
                f"{printable(archive)} holds '{printable(entry.name)}', which does not belong there"
            )
    return entries

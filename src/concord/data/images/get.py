"""Fetch public data sets, for users with a network. Beside ``download`` nothing here opens a connection.

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

import numpy as np
from torchvision import datasets

from concord.data import memory
from concord.data.images import cifar, idx, idx_parts
from concord.data.images.download import digest_of, download
from concord.errors import ConcordError, DataError, ResourceError, UsageError, suggestion
from concord.files.atomic import unfinished
from concord.files.text import printable

IDX = {"mnist": datasets.MNIST, "fashionmnist": datasets.FashionMNIST, "kmnist": datasets.KMNIST}
NAMES = (*IDX, "cifar10")
LARGEST_IDX = 1 << 26  # bytes of one file; the largest published one has 26,421,880
CIFAR_ADDRESS = "https://www.cs.toronto.edu/~kriz/"
CIFAR_ARCHIVE = "cifar-10-binary.tar.gz"
CIFAR_MD5 = "c32a1d4ab5d03f1284b67883e8d87530"
CIFAR_FILES = frozenset((*cifar.BATCHES, "test_batch.bin", cifar.NAMES, "readme.html"))
LARGEST_CIFAR = 1 << 28  # bytes of the archive, which has 170,052,171
LARGEST_ARCHIVE = 6 * 10_000 * cifar.RECORD + (1 << 20)
CHUNK = 1 << 20
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
REFUSED = (*FULL, errno.EACCES, errno.EPERM, errno.EROFS)


def get(name: str, into: Path) -> Path:
    """Fetch the set into the folder ``into``, and return that folder for ``load``.

    What is there already and has the published checksum is not fetched again; anything else of those names
    is replaced. Raises UsageError for an unknown name, DataError if nothing can be fetched, the archive is
    not what it should be, or ``load`` would read something else from the folder, ResourceError if the disk
    is full or cannot be written to.
    """
    if name not in NAMES:
        raise UsageError(f"no data set {name!r}{suggestion(name, NAMES)}; there are: {', '.join(NAMES)}")
    try:
        if name == "cifar10":
            _get_cifar(into)
        else:
            _get_idx(name, into)
    except ConcordError:
        raise
    except OSError as error:
        raise DataError(f"{printable(error.filename or into)} cannot be read: {error.strerror}") from error
    return into


def _get_idx(name: str, folder: Path) -> None:
    for file, md5 in IDX[name].resources:
        _fetch(list(IDX[name].mirrors), folder, file, md5, LARGEST_IDX)
    for file, _ in IDX[name].resources:
        _refuse_other(folder / file)


def _refuse_other(file: Path) -> None:
    """DataError if ``load`` prefers a file beside this one that holds other values."""
    prefix, kind, *_ = file.name.split("-")
    taken = idx_parts.found(file.parent, prefix, kind)
    assert taken is not None, "it was fetched"
    dimensions = 3 if kind == "images" else 1
    if taken != file and not np.array_equal(idx.read(taken, dimensions), idx.read(file, dimensions)):
        raise DataError(
            f"{printable(taken)} would be read in place of {printable(file.name)}, and holds other values; "
            "remove it"
        )


def _fetch(mirrors: list[str], folder: Path, file: str, md5: str, most: int) -> None:
    there = folder / file
    if there.is_file() and digest_of(there) == md5:
        return
    reasons = []
    for mirror in mirrors:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            download(mirror + file, there, md5, most)
        except (OSError, ValueError, HTTPException) as error:
            if _of_disk(error):
                raise _no_room(there, error) from error
            reasons.append(f"{mirror}: {printable(getattr(error, 'reason', error))}")
        else:
            return
    damaged = f"{printable(there)} is not the published file, and " if there.is_file() else ""
    raise DataError(
        f"{damaged}{file} could not be fetched ({'; '.join(reasons)}); check the network, or fetch it on "
        f"another computer from {mirrors[0]}{file} and put it into {printable(folder)}"
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


def _get_cifar(folder: Path) -> None:
    """The archive stays: what lies unpacked can be compared with nothing else."""
    archive = folder / CIFAR_ARCHIVE
    if idx_parts.official(folder):
        raise DataError(
            f"{printable(folder)} holds IDX files, which would be read in place of CIFAR-10; choose another "
            "folder with --into"
        )
    try:
        _fetch([CIFAR_ADDRESS], folder, CIFAR_ARCHIVE, CIFAR_MD5, LARGEST_CIFAR)
    except DataError as error:
        if not cifar.batches(folder):
            raise
        raise DataError(
            f"{error}\nWhat lies unpacked in {printable(folder)} can be compared with the archive only; "
            f"`concord data check {printable(folder)}` says whether it can be used as it is"
        ) from None
    if not _unpacked(archive, folder):
        unpack(archive, folder)


def _unpacked(archive: Path, folder: Path) -> bool:
    """Whether every file of the archive, whose digest is known, lies in the folder as it is in there."""
    with tarfile.open(archive, "r:gz") as tar:
        for entry in tar:
            there = folder / entry.name.rpartition("/")[2]
            stream = tar.extractfile(entry) if entry.isfile() else None
            if stream is None:
                continue
            if not there.is_file() or there.stat().st_size != entry.size:
                return False
            if stream.read() != there.read_bytes():
                return False
    return True


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

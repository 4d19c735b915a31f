"""Decoded pixels on disk, made once: uint8, one image after the other, with a checksum for each.

A cache is a folder under the user's cache folder, named after the files that it was made of (their paths,
sizes and times of change) and the size and colours that they were decoded to. It appears whole or not at
all. Each image is compared with its checksum when it is read; one that is damaged is decoded from its file
again.

Rows are read with ``pread``, not through a memory map: they come from the same pages of the system, but a
file that somebody cuts short is then an error and not the end of the process, and the pages do not count
as its own.
"""

import errno
import hashlib
import json
import math
import os
import shutil
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import PIL
import torch
from numpy.typing import NDArray
from torch import Tensor

from concord.data import memory
from concord.data.images import decode, pictures
from concord.data.images.pictures import Watch
from concord.data.images.stores import PIECE, InFiles
from concord.errors import ResourceError
from concord.files import bounded
from concord.files.atomic import disk_errors, sync_folder, unfinished, write_synced
from concord.files.documents import parse_object

VERSION = 2
PIXELS, CHECKS, ABOUT = "pixels.bin", "checks.bin", "cache.json"
LARGEST = 2**30  # bytes of what stands beside the pixels
ROOM = 2**30  # bytes that stay free on the disk


def home() -> Path:
    """Where caches lie: ``$CONCORD_CACHE``, else ``$XDG_CACHE_HOME``/concord, else ~/.cache/concord."""
    own = os.environ.get("CONCORD_CACHE")
    if own:
        return Path(own)
    base = os.environ.get("XDG_CACHE_HOME")
    if base:
        return Path(base) / "concord"
    try:
        return Path.home() / ".cache" / "concord"
    except RuntimeError:
        raise ResourceError("no home folder was found for the cache; set CONCORD_CACHE") from None


def place(files: InFiles) -> Path:
    """The folder of the cache of these files."""
    about = [VERSION, PIL.__version__, str(files.root.resolve()), files.mode, *files.size, len(files)]
    digest = hashlib.sha256(json.dumps(about).encode())
    for part in (files.names.text, files.names.ends, files.stamps):
        digest.update(part if isinstance(part, bytes) else np.ascontiguousarray(part).data)
    return home() / "pixels" / digest.hexdigest()[:32]


@dataclass(eq=False)
class OnDisk:
    """The pixels of image files in a cache."""

    files: InFiles
    folder: Path
    checks: NDArray[np.uint32]
    _open: int | None = field(default=None, repr=False)

    @property
    def shape(self) -> tuple[int, int, int]:
        return self.files.shape

    @property
    def marks(self) -> NDArray[np.uint64] | None:
        return self.files.marks

    def __len__(self) -> int:
        return len(self.files)

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_open": None}  # another process opens the file for itself

    def __del__(self) -> None:
        if self._open is not None:
            os.close(self._open)

    def take(self, rows: Tensor) -> Tensor:
        out = torch.empty((len(rows), *self.shape), dtype=torch.uint8)
        values = out.view(len(rows), math.prod(self.shape)).numpy()
        damaged = [i for i, row in enumerate(rows.tolist()) if not self._read(row, values[i])]
        if damaged:
            with decode.quiet():
                for i in damaged:
                    out[i] = self.files.decoded(int(rows[i]))
        return out

    def pieces(self, rows: Tensor) -> Iterator[Tensor]:
        return (self.take(piece) for piece in rows.split(PIECE))

    def _read(self, row: int, values: NDArray[np.uint8]) -> bool:
        """Whether the image could be read into ``values`` as it was written."""
        try:
            if self._open is None:
                self._open = os.open(self.folder / PIXELS, os.O_RDONLY)
            whole = os.preadv(self._open, [values.data], row * values.nbytes) == values.nbytes
        except OSError:
            return False
        return whole and zlib.crc32(values.data) == int(self.checks[row])


@dataclass(frozen=True, eq=False)
class Cached:
    """The pixels, the reasons of the files that could not be decoded, and what the user should know."""

    store: OnDisk
    bad: dict[int, str]
    notices: tuple[str, ...] = ()


def cached(files: InFiles, watch: Watch | None = None) -> Cached:
    """The cache of these files, made if it is not there or damaged.

    Raises ResourceError if it cannot be written or does not fit on the disk.
    """
    folder = place(files)
    found = existing(files)
    if found is not None:
        return found
    again = folder.exists()
    bad = _build(files, folder, watch)
    made = existing(files)
    if made is None:
        raise ResourceError(f"{folder} could not be read back after it was written; {_otherwise()}")
    what = "was damaged and is made again" if again else "is made"
    notice = (
        f"a cache of the decoded pixels {what}: {folder} ({memory.size(_need(files))}); delete it at any time"
    )
    return Cached(made.store, bad, (notice,))


def existing(files: InFiles) -> Cached | None:
    """The cache of these files if it is there and whole."""
    folder = place(files)
    try:
        about = parse_object(bounded.read(folder / ABOUT, LARGEST))
        checks = np.frombuffer(bounded.read(folder / CHECKS, LARGEST), np.uint32).copy()
        size = (folder / PIXELS).stat().st_size
        bad = {int(row): str(reason) for row, reason in about["bad"].items()}
        same = about["version"] == VERSION and about["checks"] == zlib.crc32(checks.data)
    except (OSError, ValueError, KeyError, AttributeError):
        return None
    if not same or len(checks) != len(files) or size != _need(files):
        return None
    return Cached(OnDisk(files, folder, checks), bad)


def _need(files: InFiles) -> int:
    return len(files) * int(np.prod(files.shape))


def _build(files: InFiles, folder: Path, watch: Watch | None) -> dict[int, str]:
    """Decode all files into the folder, which appears when it is whole; the reasons of those that fail."""
    temporary = folder.with_name(f"{folder.name}.tmp-{os.getpid()}")
    try:
        with disk_errors(folder, _need(files)), unfinished(temporary):
            folder.parent.mkdir(parents=True, exist_ok=True)
            _sweep(folder)
            temporary.mkdir()
            _refuse_full(files, folder)
            bad = _write(files, temporary, watch)
            if folder.exists():
                shutil.rmtree(folder)
            temporary.rename(folder)
            sync_folder(folder.parent)
    except ResourceError as error:
        raise ResourceError(f"{error}; {_otherwise()}") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return bad


def _write(files: InFiles, folder: Path, watch: Watch | None) -> dict[int, str]:
    checks = np.zeros(len(files), np.uint32)
    each = int(np.prod(files.shape))
    with (folder / PIXELS).open("wb") as file:
        handle = file.fileno()
        os.truncate(handle, len(files) * each)

        def put(row: int, pixels: Tensor) -> None:
            values = pixels.contiguous().numpy().reshape(-1)
            checks[row] = zlib.crc32(values.data)
            if os.pwrite(handle, values.data, row * each) != each:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        bad = pictures.decoded(files, put, watch)
        os.fsync(handle)
    write_synced(folder / CHECKS, checks.tobytes())
    about = {
        "version": VERSION,
        "checks": zlib.crc32(checks.data),
        "bad": {str(row): why for row, why in bad.items()},
    }
    write_synced(folder / ABOUT, json.dumps(about).encode())
    return bad


def _refuse_full(files: InFiles, folder: Path) -> None:
    free = shutil.disk_usage(folder.parent).free
    if _need(files) > free:
        raise ResourceError(
            f"a cache in {folder.parent} needs {memory.size(_need(files))}, "
            f"the disk has {memory.size(free)} free"
        )


def _sweep(folder: Path) -> None:
    """Remove what builds of this cache have left that were killed."""
    for left in folder.parent.glob(f"{folder.name}.tmp-*"):
        number = left.name.rpartition("-")[2]
        if number.isdigit() and not Path(f"/proc/{number}").exists():
            shutil.rmtree(left, ignore_errors=True)


def _otherwise() -> str:
    return "set CONCORD_CACHE to a folder elsewhere, or data.keep to decode or memory"

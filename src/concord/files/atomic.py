"""Files that are either whole or not there: temporary name, fsync, rename, fsync of the folder."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from concord.errors import ConcordError, ResourceError
from concord.files.links import refuse_links

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
UNFINISHED: set[Path] = set()  # what a process that ends without unwinding leaves behind


@contextmanager
def unfinished(path: Path) -> Iterator[Path]:
    """Note a file or folder that is of no use unless the block ends, so that whoever ends the process can
    remove it."""
    UNFINISHED.add(path)
    try:
        yield path
    finally:
        UNFINISHED.discard(path)


@contextmanager
def disk_errors(path: Path, need: int | None = None) -> Iterator[None]:
    """Turn a full or unwritable disk into a ResourceError that names the path and what is left.

    ``need``: the bytes that were to be written, where known, are named too. Errors of concord pass
    through: DataError and CheckpointError are OSErrors too.
    """
    try:
        yield
    except ConcordError:
        raise
    except OSError as error:
        if error.errno not in FULL:
            raise ResourceError(f"{path}: cannot write ({error.strerror})") from error
        needs = "" if need is None else f"needs {_size(need)}, "
        raise ResourceError(
            f"{path}: the disk is full or a size limit was reached ({error.strerror}; {needs}{_free(path)})."
            " What was saved before is intact: make room, then `concord resume` a run or repeat the command"
        ) from error


def _free(path: Path) -> str:
    folder = next((p for p in (path, *path.parents) if p.exists()), Path("/"))
    stat = os.statvfs(folder)
    return f"has {_size(stat.f_bavail * stat.f_frsize)} free"


def _size(count: int) -> str:
    return f"{count:,} bytes" if count < 2**20 else f"{count / 2**20:.1f} MiB"


def write_synced(path: Path, content: bytes) -> None:
    """Write and fsync a file in a folder that is not yet visible under its final name."""
    path.unlink(missing_ok=True)  # a link of that name would lead elsewhere
    with path.open("xb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def sync_folder(path: Path) -> None:
    """Make renames and new names in this folder durable."""
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def make_folder_of(path: Path) -> None:
    """Make the folder that ``path`` is to lie in; ResourceError if it cannot be, as where a file stands.

    A link inside a run or study folder is a CheckpointError: who made the folder chose where it leads.
    """
    refuse_links(path)
    with disk_errors(path):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except FileExistsError:
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR)) from None


def write_text(path: Path, text: str) -> None:
    """``deliver`` for a text; what is no UTF-8 is shown as its bytes."""
    deliver(path, text.encode("utf-8", "backslashreplace"))


def deliver(path: Path, content: bytes) -> None:
    """``replace`` where a user said, in a folder that is made if need be.

    A link is followed, and a device or a pipe is written to instead of being replaced by a file. Inside a run
    or study folder a link is a CheckpointError: who made the folder chose where it leads.
    """
    make_folder_of(path)
    if path.exists() and not path.is_file() and not path.is_dir():
        with disk_errors(path, len(content)):
            path.write_bytes(content)
    else:
        replace(path.resolve() if path.is_symlink() else path, content)


def replace(path: Path, content: bytes) -> None:
    """Put ``content`` at ``path``: after a crash at any moment the old or the new file is there, whole.

    Raises ResourceError when it cannot be written; the old file then stays.
    """
    temporary = path.with_name(f"{path.name}.tmp-{os.getpid()}")
    with disk_errors(path, len(content)), unfinished(temporary):
        try:
            write_synced(temporary, content)
            temporary.replace(path)
            sync_folder(path.parent)
        finally:
            temporary.unlink(missing_ok=True)

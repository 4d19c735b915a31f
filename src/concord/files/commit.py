"""A folder of files that is either whole or not there: files, fsync, manifest, fsync, one rename.

NAME.tmp-PID     a save, or a removal, in progress or killed
NAME.old         the former folder of that name, while a new one takes its place
"""

import os
import shutil
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from concord.files import manifest
from concord.files.atomic import disk_errors, sync_folder, unfinished, write_synced
from concord.files.links import refuse_links


def commit(final: Path, files: Mapping[str, bytes], **more: object) -> None:
    """Put a folder of these files and their manifest at ``final``.

    After a kill at any moment, or a ResourceError, either the folder that was there before can be read (under
    its name or as NAME.old) or the new one, whole. ``more`` goes into the manifest.
    """
    refuse_links(final)
    temporary = temporary_of(final)
    with disk_errors(final, need=sum(map(len, files.values()))), unfinished(temporary):
        try:
            temporary.mkdir(parents=True)
            for name, content in files.items():
                write_synced(temporary / name, content)
            write_synced(temporary / manifest.FILE, manifest.document(files, **more))
            sync_folder(temporary)
            _put(temporary, final)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def temporary_of(path: Path) -> Path:
    """A free name; what a killed process of the same number left there is removed."""
    temporary = path.with_name(f"{path.name}.tmp-{os.getpid()}")
    if temporary.is_symlink():
        temporary.unlink()
    shutil.rmtree(temporary, ignore_errors=True)
    return temporary


def _put(temporary: Path, final: Path) -> None:
    """Rename into place; of two folders of one name, the old or the new one can be read at any moment."""
    old = final.with_name(f"{final.name}.old")
    if final.exists():
        shutil.rmtree(old, ignore_errors=True)
        final.rename(old)
    temporary.rename(final)
    sync_folder(final.parent)
    remove(old)


def remove(path: Path) -> None:
    """Remove a folder at one stroke: a kill leaves no part of it under its name."""
    with suppress(OSError):
        shutil.rmtree(path.rename(temporary_of(path)))

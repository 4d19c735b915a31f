"""What may be computed again at any time, kept in the user's cache folder: sealed, bounded, never needed.

The folder is ``$CONCORD_CACHE``, else ``$XDG_CACHE_HOME/concord``, else ``~/.cache/concord``. Where it cannot
be read or written, nothing is kept and nothing is raised: the caller computes as it would without a cache.
"""

import hashlib
import json
import os
import stat
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from concord.files.atomic import make_folder_of, replace
from concord.files.documents import parse_object

ENTRIES = 500  # more are not kept: the oldest go
BYTES = 20 * 2**20  # of all entries of one kind
LARGEST = 4 * 2**20  # bytes of one entry
SEAL, SEALED = b'{"sha256": "', b'", '  # an entry is JSON whose first key is the digest of what follows it


def cache_folder() -> Path | None:
    """Where concord may keep things; None for a user without a home."""
    if given := os.environ.get("CONCORD_CACHE"):
        return Path(given)
    base = os.environ.get("XDG_CACHE_HOME", "")
    if Path(base).is_absolute():  # the specification has relative ones ignored
        return Path(base, "concord")
    try:
        return Path.home() / ".cache" / "concord"
    except RuntimeError:
        return None


def kept(kind: str, key: Mapping[str, object]) -> Mapping[str, Any] | None:
    """What was kept under the key; None if nothing was, or if the entry is damaged."""
    if (path := _path(kind, key)) is None:
        return None
    with suppress(OSError, ValueError):
        entry = parse_object(_opened(path))
        value = entry.get("value")
        if entry.get("key") == key and isinstance(value, dict):
            return value
    return None


def keep(kind: str, key: Mapping[str, object], value: Mapping[str, object]) -> None:
    """Keep the value under the key, both plain data, if there is room; the oldest entries give way."""
    if (path := _path(kind, key)) is None:
        return
    body = json.dumps({"key": key, "value": value}, separators=(",", ":"), allow_nan=False).encode()[1:]
    content = SEAL + _digest(body) + SEALED + body
    if len(content) > LARGEST:
        return
    with suppress(OSError):
        make_folder_of(path)
        replace(path, content)
        _trim(path.parent)


def _path(kind: str, key: Mapping[str, object]) -> Path | None:
    folder = cache_folder()
    name = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()
    return None if folder is None else folder / kind / f"{name}.json"


def _digest(body: bytes) -> bytes:
    return hashlib.sha256(body).hexdigest().encode()


def _opened(path: Path) -> bytes:
    """The bytes of an entry whose seal holds; ValueError for anything else, and never a wait for a pipe."""
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(handle, "rb") as file:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise ValueError("not a file")
        content = file.read(LARGEST + 1)
    end = len(SEAL) + 64
    seal, body = content[:end], content[end + len(SEALED) :]
    if len(content) > LARGEST or seal != SEAL + _digest(body) or content[end : end + len(SEALED)] != SEALED:
        raise ValueError("damaged")
    return content


def _trim(folder: Path) -> None:
    """Remove the oldest entries until the others are within the limits."""
    found = []
    for entry in os.scandir(folder):
        with suppress(FileNotFoundError):  # another process trims too
            status = entry.stat(follow_symlinks=False)
            found.append((status.st_mtime_ns, status.st_size, Path(entry.path)))
    found.sort(reverse=True)
    room = BYTES
    for number, (_, size, path) in enumerate(found):
        room -= size
        if number >= ENTRIES or room < 0:
            with suppress(OSError):
                path.unlink()

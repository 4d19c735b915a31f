"""A manifest beside files: size and SHA-256 of each, so that one changed digit is noticed."""

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from concord.errors import CheckpointError
from concord.files import bounded
from concord.files.documents import LARGEST, parse_object

FILE = "MANIFEST.json"
FORMAT = 1
MEMORY = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")  # bytes; a file is read whole


class Entry(NamedTuple):
    """What the manifest says about a file."""

    size: int
    sha256: str


def entry_of(content: bytes) -> Entry:
    return Entry(len(content), hashlib.sha256(content).hexdigest())


def document(files: Mapping[str, bytes], **more: object) -> bytes:
    """The manifest of these files."""
    return document_of({name: entry_of(content) for name, content in files.items()}, **more)


def document_of(entries: Mapping[str, Entry], **more: object) -> bytes:
    """The manifest that lists these entries."""
    listed = {name: entry._asdict() for name, entry in entries.items()}
    return json.dumps({"format": FORMAT, **more, "files": listed}, indent=1, allow_nan=False).encode()


def read(folder: Path) -> tuple[dict[str, object], dict[str, Entry]]:
    """Its own keys, and the entries; CheckpointError if it is missing, damaged or of another format."""
    try:
        found = parse_object(bounded.read(folder / FILE, LARGEST))
        version = found["format"]
        entries = {str(name): Entry(**entry) for name, entry in found["files"].items()}
        if not all(type(e.size) is int and e.size >= 0 and type(e.sha256) is str for e in entries.values()):
            raise ValueError("an entry is not a size and a digest")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{folder}/{FILE}: missing or damaged ({error})") from None
    if version != FORMAT:
        raise CheckpointError(f"{folder}: checkpoint format {version!r}; this concord reads format {FORMAT}")
    return found, entries


def content(path: Path, entry: Entry) -> bytes:
    """The bytes of a file that are as the manifest says, or CheckpointError."""
    if type(entry.size) is int and entry.size > MEMORY:
        raise CheckpointError(f"{path}: {entry.size:,} bytes are more than this machine has memory")
    try:
        found = bounded.read(path, entry.size) if path.stat().st_size == entry.size else None
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror})") from None
    except ValueError as error:
        raise CheckpointError(f"{path}: damaged ({error})") from None
    if found is None or entry_of(found) != entry:
        raise CheckpointError(f"{path}: damaged, its content is not what was saved (size or SHA-256 differs)")
    return found


def verified(folder: Path, name: str) -> bytes:
    """The content of a file that the manifest of its folder names; CheckpointError if it is not the same."""
    _, entries = read(folder)
    if name not in entries:
        raise CheckpointError(f"{folder}/{FILE}: it does not name {name}")
    return content(folder / name, entries[name])

"""Bounds on what is read, before it is read or parsed: kind and size of a file, depth, number of values."""

import re
import stat
from pathlib import Path

DEEPEST = 100  # tables and lists within each other; what concord writes has less than ten
MOST_VALUES = 2_000_000  # of one document
STRINGS = re.compile(rb'"(?:[^"\\]|\\.)*+"?', re.DOTALL)  # one left open reaches to the end


def read(path: Path, most: int) -> bytes:
    """The content of a file of at most ``most`` bytes.

    ValueError for a larger one, and for a pipe or a device, which could be endless. OSError if it cannot be
    read.
    """
    found = path.stat()
    if not (stat.S_ISREG(found.st_mode) or stat.S_ISDIR(found.st_mode)):
        raise ValueError("not a regular file")
    if found.st_size > most:
        raise ValueError(f"more than {most} bytes")
    return path.read_bytes()


def check_json(content: bytes) -> None:
    """ValueError if this is nested too deeply, or has too many values, to be parsed without a thought."""
    openings = content.count(b"[") + content.count(b"{")
    if openings + content.count(b",") + content.count(b":") > MOST_VALUES:
        raise ValueError(f"more than {MOST_VALUES:,} values")
    if openings > DEEPEST and depth(STRINGS.sub(b"", content)) > DEEPEST:
        raise ValueError("nested too deeply")


def depth(content: bytes) -> int:
    """How deep brackets and braces stand within each other, where no string is left."""
    deepest = here = 0
    for mark in re.sub(rb"[^\[\]{}]", b"", content):
        here += 1 if mark in b"[{" else -1
        deepest = max(deepest, here)
        if deepest > DEEPEST:
            break
    return deepest

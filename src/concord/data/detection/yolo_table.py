"""data.yaml of a YOLO set: the part of YAML that such files are written in, with line numbers.

Read are keys at the left edge with a value, a list in brackets or one item a line, or a table of numbers and
names in braces or one a line; other keys are passed over.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from concord.data.detection.folders import text_of
from concord.errors import DataError
from concord.files.text import printable

KEYS = ("path", "train", "val", "valid", "test", "names")
TOKEN = re.compile(r""""(?:[^"\\]|\\.)*"|'(?:[^']|'')*'|[^\s,\[\]{}][^,\[\]{}]*""")
COMMENT = re.compile(r"""("[^"]*"|'[^']*')|(?:^|\s)#.*""")
KEY = re.compile(r"""(?P<key>[\w-]+|"[^"]*"|'[^']*')\s*:(?:\s+|$)(?P<rest>.*)""")


@dataclass(frozen=True)
class Table:
    """``places``: part or ``path`` -> what the file gives for it."""

    places: Mapping[str, Sequence[str]]
    classes: tuple[str, ...] | None


def table(path: Path) -> Table:
    """What data.yaml says; DataError with file and line for what cannot be read."""
    found: dict[str, list[str]] = {}
    classes = None
    for key, (line, rest) in _keys(text_of(path)).items():
        where = f"{printable(path)}, line {line}"
        if key == "names":
            classes = _names(rest, where)
        elif key in KEYS and (items := _items(rest)):
            found[key] = items
    return Table(found, classes)


def _keys(text: str) -> dict[str, tuple[int, list[str]]]:
    """Key -> its line and what follows on it and below it, without comments."""
    found: dict[str, tuple[int, list[str]]] = {}
    here: list[str] = []
    for number, raw in enumerate(text.splitlines(), 1):
        line = COMMENT.sub(lambda match: match[1] or "", raw).rstrip()
        match = KEY.fullmatch(line)
        if match:
            here = [match["rest"]]
            found[_plain(match["key"])] = number, here
        elif line:
            here.append(line)
    return {key: (line, [text for text in rest if text]) for key, (line, rest) in found.items()}


def _items(rest: Sequence[str]) -> list[str]:
    if rest and rest[0].startswith("["):
        return [_plain(token) for token in TOKEN.findall(" ".join(rest))]
    return [_plain(text.strip().removeprefix("-").strip()) for text in rest]


def _names(rest: Sequence[str], where: str) -> tuple[str, ...]:
    if rest and rest[0].startswith("{"):
        rest = TOKEN.findall(" ".join(rest))
    pairs = [KEY.fullmatch(text.strip()) for text in rest]
    if not rest or not all(pairs):
        names = _items(rest)
    else:
        numbered = {_plain(match["key"]): _plain(match["rest"]) for match in pairs if match}
        if sorted(numbered) != sorted(map(str, range(len(numbered)))):
            raise DataError(
                f"{where}: names must be numbered 0, 1, 2, ..., got {', '.join(map(printable, numbered))}"
            )
        names = [numbered[str(k)] for k in range(len(numbered))]
    if not names or not all(names):
        raise DataError(f"{where}: names of classes are missing; expected names: [first, second]")
    return tuple(names)


def _plain(text: str) -> str:
    """A scalar without its quotes."""
    text = text.strip()
    if len(text) > 1 and text[0] == text[-1] == "'":
        return text[1:-1].replace("''", "'")
    if len(text) > 1 and text[0] == text[-1] == '"':
        return re.sub(r"\\(.)", r"\1", text[1:-1])
    return text

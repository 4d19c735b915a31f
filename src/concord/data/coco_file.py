"""COCO's JSON as every reader of it needs it: the document, its lists, and fields of the right kind.

Source: T.-Y. Lin et al., "Microsoft COCO: Common Objects in Context", ECCV 2014, and its data format
(cocodataset.org, "object detection").
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

from concord.errors import DataError
from concord.files import bounded
from concord.files.text import printable

LARGEST = 2**30  # bytes of one file; the largest of COCO itself has half of that
LISTS = ("images", "annotations", "categories")
Entry = Mapping[str, Any]


def document(path: Path) -> Entry:
    """The object of a JSON file; DataError for anything else."""
    try:
        content = json.loads(bounded.read(path, LARGEST), parse_constant=_refuse)
    except RecursionError:
        raise DataError(f"{printable(path)}: not valid JSON (nested too deeply)") from None
    except json.JSONDecodeError as error:
        raise DataError(f"{printable(path)}, line {error.lineno}: not valid JSON ({error.msg})") from None
    except ValueError as error:
        raise DataError(f"{printable(path)}: not valid JSON ({printable(error)})") from None
    except OSError as error:
        raise DataError(f"{printable(path)} cannot be read: {error.strerror}") from error
    if not isinstance(content, dict):
        raise DataError(f"{printable(path)}: expected an object with images, annotations and categories")
    return content


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not a number of JSON")


def entries(path: Path, content: Entry, key: str) -> list[tuple[str, Entry]]:
    """Where each entry of a list stands, and the entry; DataError for one of another kind."""
    found = content.get(key)
    if not isinstance(found, list):
        raise DataError(
            f"{printable(path)}: the list {key} is missing; expected images, annotations, categories"
        )
    placed = [(f"{printable(path)}: {key}[{place}]", entry) for place, entry in enumerate(found)]
    for where, entry in placed:
        if not isinstance(entry, dict):
            raise DataError(f"{where} must be an object, got {type(entry).__name__}")
    return placed


def whole(entry: Entry, key: str, where: str) -> int:
    """A whole number; DataError for anything else."""
    value = entry.get(key)
    if type(value) is not int:
        raise DataError(f"{where}: {key} must be a whole number, got {printable(value)!r}")
    return value


def text(entry: Entry, key: str, where: str) -> str:
    """A text that is not empty; DataError for anything else."""
    value = entry.get(key)
    if not isinstance(value, str) or not value:
        raise DataError(f"{where}: {key} must be a text, got {printable(value)!r}")
    return value


def categories(path: Path, content: Entry) -> dict[int, str]:
    """Number of a category -> its name, in the order of the file; DataError for one that stands twice."""
    found: dict[int, str] = {}
    for where, entry in entries(path, content, "categories"):
        number, name = whole(entry, "id", where), text(entry, "name", where)
        if number in found or name in found.values():
            raise DataError(f"{where}: the category {number} {printable(name)!r} stands there twice")
        found[number] = name
    return found


def images(path: Path, content: Entry) -> dict[int, tuple[str, Entry]]:
    """Number of an image -> where its entry stands, and the entry; DataError for one that stands twice."""
    found: dict[int, tuple[str, Entry]] = {}
    for where, entry in entries(path, content, "images"):
        number = whole(entry, "id", where)
        if number in found:
            raise DataError(f"{where}: the image {number} stands there twice")
        found[number] = where, entry
    return found

"""JSON as concord reads it: one object, whole, without anything that other programs read differently."""

import json
from abc import abstractmethod
from collections import Counter
from collections.abc import Iterator, Mapping
from math import isfinite
from typing import Any

from concord.files.bounded import check_json

LARGEST = 16 * 2**20  # bytes
LONGEST_SHOWN = 100  # characters of a key in a message


def parse_object(content: bytes) -> dict[str, Any]:
    """The object that ``content`` holds.

    Raises ValueError for what is no JSON or no object, for NaN and infinity (a number like 1e999 is infinity
    too), for a key that stands twice in one object, and for what is nested too deeply or too large.
    """
    if len(content) > LARGEST:
        raise ValueError(f"more than {LARGEST} bytes")
    check_json(content)
    try:
        found = json.loads(
            content, parse_constant=_refuse, parse_float=_finite, object_pairs_hook=_each_key_once
        )
    except RecursionError:
        raise ValueError("nested too deeply") from None
    if not isinstance(found, dict):
        raise ValueError(f"expected an object, got {type(found).__name__}")
    return found


def _refuse(constant: str) -> float:
    raise ValueError(f"{constant} is not a number of JSON")


def _finite(text: str) -> float:
    number = float(text)
    if not isfinite(number):
        raise ValueError(f"{text[:20]} is too large")
    return number


def _each_key_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        twice, _ = Counter(key for key, _ in pairs).most_common(1)[0]
        raise ValueError(f"the key {twice[:LONGEST_SHOWN]!r} stands twice")
    return found


class Document(Mapping[str, Any]):
    """A record that is also the mapping of its JSON document, which ``to_dict`` gives."""

    @abstractmethod
    def to_dict(self) -> dict[str, Any]: ...

    def __getitem__(self, key: str) -> Any:
        return self.to_dict()[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self.to_dict())

    def __len__(self) -> int:
        return len(self.to_dict())

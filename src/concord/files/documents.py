"""JSON as concord reads it: one object, whole, without anything that other programs read differently."""

import hashlib
import json
from abc import abstractmethod
from collections import Counter
from collections.abc import Iterator, Mapping
from math import isfinite
from typing import Any

from concord.files.bounded import check_json

LARGEST = 16 * 2**20  # bytes
LONGEST_SHOWN = 100  # characters of a key in a message
DIGEST = "sha256"  # key of a document that holds the digest of all its other keys


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


def with_digest(content: Mapping[str, Any]) -> dict[str, Any]:
    """The document and the SHA-256 of what it says, so that it is noticed when one of the two was edited.

    That is for documents that are written by themselves: no manifest beside them has to change with them.
    """
    plain = {key: value for key, value in content.items() if key != DIGEST}
    written = json.dumps(plain, sort_keys=True, allow_nan=False).encode()
    return {**plain, DIGEST: hashlib.sha256(written).hexdigest()}


def without_digest(content: Mapping[str, Any], trusted: bool = False) -> dict[str, Any]:
    """What a document says; ValueError if it has a digest, and is not ``trusted``, and the two differ."""
    if DIGEST in content and not trusted and with_digest(content)[DIGEST] != content[DIGEST]:
        raise ValueError(f"edited, its {DIGEST} is that of other content")
    return {key: value for key, value in content.items() if key != DIGEST}


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

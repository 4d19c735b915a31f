"""What was decided so far, in OUT/search.json: a search that is repeated takes the same decisions.

settings    what was asked for; another search in the same folder is refused
data        the fingerprint of the data; a search does not continue with others
plan, ...   a decision each, made once and read from then on
seconds     by the clock, of every run so far
sha256      of all of that: an edited file is refused
"""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from concord.errors import CheckpointError, UsageError
from concord.files import bounded
from concord.files.atomic import replace
from concord.files.documents import DIGEST, LARGEST, parse_object, with_digest, without_digest
from concord.runs import toml

FILE = "search.json"


class Journal:
    """The decisions of the search in one folder. UsageError if it holds a search for something else.

    Nothing is written before the first decision.
    """

    def __init__(self, folder: Path, settings: Mapping[str, Any]) -> None:
        self.file = folder / FILE
        self._kept: dict[str, Any] = _read(self.file)
        before = self._kept.setdefault("settings", dict(settings))
        changes = toml.differences(before, dict(settings))
        if changes:
            listed = "\n".join(f"  {change}" for change in changes)
            raise UsageError(f"{folder} holds another search; give another folder, or undo:\n{listed}")

    def once(self, key: str, decide: Callable[[], Mapping[str, Any]]) -> dict[str, Any]:
        """The decision under that key, as plain data; it is made if it is not there yet."""
        if key not in self._kept:
            self._kept[key] = dict(decide())
            self._write()
        return self.found(key)

    def found(self, key: str) -> dict[str, Any]:
        """A decision that was made; KeyError if it was not."""
        found: dict[str, Any] = self._kept[key]
        return found

    def require(self, fingerprint: str) -> None:
        """UsageError if the decisions so far were made on other data."""
        before = self._kept.setdefault("data", fingerprint)
        if before != fingerprint:
            raise UsageError(
                f"the data are not those with which the search in {self.file.parent} began: its runs and"
                " figures are of other images. Put the data back as they were, or give another folder"
            )

    def spend(self, run: str, seconds: float) -> None:
        """Add seconds by the clock to a run, which may have been continued after a stop."""
        self._kept.setdefault("seconds", {})[run] = self.spent(run) + seconds
        self._write()

    def spent(self, run: str) -> float:
        """The seconds by the clock of a run so far."""
        found: float = self._kept.get("seconds", {}).get(run, 0.0)
        return found

    def _write(self) -> None:
        replace(self.file, json.dumps(with_digest(self._kept), indent=1, allow_nan=False).encode() + b"\n")


def _read(file: Path) -> dict[str, Any]:
    """What the file holds; nothing where it does not exist. CheckpointError if it is damaged or edited."""
    try:
        found = parse_object(bounded.read(file, LARGEST))
        if DIGEST not in found:
            raise ValueError(f"it has no {DIGEST}")
        return without_digest(found)
    except FileNotFoundError:
        return {}
    except (ValueError, OSError) as error:
        raise CheckpointError(
            f"{file}: damaged ({error}). Remove the whole folder, and search again"
        ) from None

"""RUN/stamp.json: where, when and how a run was made, and every resume of it.

It changes while a run is trained, so no manifest holds it: it has a digest of its own.
"""

import os
from collections.abc import Sequence
from typing import Any

from concord.errors import CheckpointError
from concord.files.documents import with_digest
from concord.runs.folder import RunFolder
from concord.runs.machine import resumed

FILE = "stamp.json"


def read(folder: RunFolder) -> dict[str, Any]:
    """What the stamp says; empty without the file. CheckpointError if it is damaged or was edited."""
    if not os.path.lexists(folder.path / FILE):
        return {}
    try:
        return folder.json(FILE)
    except CheckpointError as error:
        raise CheckpointError(
            f"{error}. Put it back, or remove it: then nothing is known of where the run was made"
        ) from None


def add_resume(folder: RunFolder, stamp: dict[str, Any], changes: Sequence[str]) -> None:
    """Note this resume: when, by which command, and what was changed. Without a stamp nothing is noted."""
    if stamp:
        before = stamp.get("resumes")
        resumes = {**(before if isinstance(before, dict) else {}), **resumed(changes)}
        folder.write_json(FILE, with_digest({**stamp, "resumes": resumes}))

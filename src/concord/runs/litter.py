"""Temporary files that killed processes left beside the files of a run."""

import re
from contextlib import suppress
from os import kill
from pathlib import Path

TEMPORARY = re.compile(r"(?P<file>.+)\.tmp-(?P<process>[0-9]{1,10})")
# written by the process that holds the lock: such a temporary file of another process is nobody's any more
LOCKED = {
    "config.toml",
    "stamp.json",
    "interface.json",
    "result.json",
    "MANIFEST.json",
    "predictions.safetensors",
    "votes.safetensors",
}
SHOWN = {  # written by verbs that take no lock
    "report.html",
    "MODEL_CARD.md",
    "attack.json",
    "attack.html",
    "corruptions.json",
}


def remove(run: Path) -> None:
    """Remove temporary files that nobody writes any more; the caller holds the lock of the run."""
    for folder in (run, *run.glob("attack/*")):
        if not folder.is_symlink() and folder.is_dir():
            for path in folder.glob("*.tmp-*"):
                if _left(path.name):
                    with suppress(OSError):
                        path.unlink()


def _left(name: str) -> bool:
    match = TEMPORARY.fullmatch(name)
    if match is None:
        return False
    return match["file"] in LOCKED or (match["file"] in SHOWN and not _runs(int(match["process"])))


def _runs(process: int) -> bool:
    """Whether a process of this number is alive on this machine."""
    try:
        kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:
        return True
    return True

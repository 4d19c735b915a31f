"""Which kind of run a task makes."""

from pathlib import Path
from typing import Any

from concord.errors import CheckpointError
from concord.files.text import printable
from concord.runs import picture_run
from concord.runs.config import Config
from concord.runs.folder import RunFolder
from concord.runs.ready import Kind
from concord.runs.sequences import run as sequence_run
from concord.runs.task_kinds import KindName, kind_name
from concord.runs.vision import run as vision_run


def kind_of(config: Config) -> Kind:
    """How the runs of its task are made."""
    found: Any = {"pictures": picture_run, "sequences": sequence_run, "vision": vision_run}
    kind: Kind = found[kind_name(config.train.task)]
    return kind


def kind_of_run(run: Path) -> KindName:
    """The kind of a run folder; a file, which may be a packed one, labels pictures.

    CheckpointError for a folder that is not a run, and for a packed file that does not exist.
    """
    if run.is_file():
        return "pictures"
    if run.suffix == ".safetensors" and not run.exists():
        raise CheckpointError(f"{printable(run)}: expected a packed file, the file does not exist")
    return kind_name(RunFolder(run).config().train.task)

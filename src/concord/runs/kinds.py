"""Which kind of run a task makes."""

from pathlib import Path
from typing import Any

from concord.errors import UsageError, suggestion
from concord.runs import picture_run
from concord.runs.config import Config
from concord.runs.folder import RunFolder
from concord.runs.ready import Kind
from concord.runs.sequences import run as sequence_run
from concord.runs.sequences.settings import KINDS, TASKS


def kind_of(config: Config) -> Kind:
    """Sequences for their tasks, else pictures."""
    found: Any = sequence_run if config.train.task in TASKS else picture_run
    return found


def refuse_unknown(task: str) -> None:
    """UsageError for a task that no run of the command line has."""
    if task not in KINDS:
        raise UsageError(f"no task {task!r}{suggestion(task, KINDS)}; there are: {', '.join(KINDS)}")


def of_sequences(run: Path) -> bool:
    """Whether a run folder is one of sequences; CheckpointError if it is not a run."""
    return RunFolder(run).config().train.task in TASKS

"""Tasks of the command line, and which kind of run each makes. Nothing here imports torch."""

from pathlib import Path
from typing import Literal

from concord.errors import UsageError, suggestion
from concord.runs.sequences import settings as sequences
from concord.runs.vision import settings as vision

CLASSIFY = "classify"
TASKS = (CLASSIFY, *vision.TASKS, *sequences.TASKS)
PAIRS = {**vision.PAIRS, **{task: {name: name for name in pair} for task, pair in sequences.PAIRS.items()}}
KindName = Literal["pictures", "sequences", "vision"]


def kind_name(task: str) -> KindName:
    """Runs on sequences, runs of masks and boxes, or classifiers of pictures."""
    if task in sequences.TASKS:
        return "sequences"
    return "vision" if task in vision.TASKS else "pictures"


def refuse_unknown(task: str) -> None:
    """UsageError for a task that no run of the command line has."""
    if task not in TASKS:
        raise UsageError(f"no task {task!r}{suggestion(task, TASKS)}; there are: {', '.join(TASKS)}")


def refuse_other(path: Path, task: str) -> None:
    """UsageError for a run of another task, where classifiers of pictures are needed."""
    if kind_name(task) != "pictures":
        what = "is a run on sequences" if kind_name(task) == "sequences" else "finds masks or boxes"
        raise UsageError(f"{path} {what} (task {task}); this is for classifiers of pictures")

"""Members that only teach: weights of a finished run, held constant (offline distillation).

Source: G. Hinton, O. Vinyals, J. Dean, "Distilling the knowledge in a neural network", 2015. With edges
towards the student and the cost kl, the student learns from a fixed teacher: the baseline of every mutual
training.
"""

from collections.abc import Mapping
from pathlib import Path

from torch import nn

from concord.errors import CheckpointError, DataError, UsageError
from concord.runs.config import Config
from concord.runs.folder import RunFolder
from concord.runs.interface import Interface, interface_of
from concord.runs.task_kinds import kind_name
from concord.runs.weights import fill, standing
from concord.training.observer import SILENT, Observer


def load_teachers(
    config: Config, members: Mapping[str, nn.Module], interface: Interface, observer: Observer = SILENT
) -> None:
    """Put the weights of their runs into the members that teach.

    Raises CheckpointError if there is no such run or member, DataError if it was trained on other images.
    """
    for member in config.members:
        if member.teacher is None:
            continue
        path, name = run_and_member(member.teacher)
        folder = RunFolder(path)
        if kind_name(task := folder.config().train.task) != "pictures":
            raise UsageError(f"{path} is a run of the task {task}; it teaches no classifier of pictures")
        names = [m.name for m in folder.config().members]
        taught = name or (names[0] if len(names) == 1 else member.name)
        if taught not in names:
            raise CheckpointError(f"{path} has no member {taught!r}; there are: {', '.join(names)}")
        saved = standing(folder)
        if interface_of(folder, saved.state, observer.notice) != interface:
            raise DataError(f"{path} was trained on images of another shape, normalisation or set of classes")
        fill({taught: members[member.name]}, saved)


def run_and_member(teacher: str) -> tuple[Path, str]:
    """``RUN:MEMBER`` or ``RUN``, whose path may hold colons; a name holds neither colon nor slash."""
    run, colon, name = teacher.rpartition(":")
    return (Path(run), name) if colon and "/" not in name else (Path(teacher), "")

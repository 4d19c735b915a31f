"""Tasks by name, whose number of classes is found in the data or in what members give."""

from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple

from torch import nn

from concord.errors import UsageError, suggestion
from concord.runs.given import Given, classes_of, refuse_other, sample_inputs
from concord.runs.own_members import refuse_task, widths
from concord.tasks.classify import Classify
from concord.tasks.ctc import Labelling
from concord.tasks.steps import Steps
from concord.tasks.task import Task

TaskName = Literal["classify", "sequence", "segments", "language", "ctc"]


class Kind(NamedTuple):
    """How a task is made of a number of classes, and the shape of the logits that tell it."""

    make: Callable[[int], Task[Any]]
    logits: str


TASKS: Mapping[str, Kind] = {
    "classify": Kind(Classify, "(B, K)"),
    "sequence": Kind(Classify, "(B, K)"),
    "segments": Kind(Steps, "(B, T, K)"),
    "language": Kind(lambda classes: Steps(classes, watch="nll"), "(B, T, K)"),
    "ctc": Kind(Labelling, "(B, T, K)"),
}


def task_or_name(given: Any) -> Any:
    """The same; UsageError for another name, and for an object that lacks a part of the protocol."""
    if isinstance(given, str):
        if given not in TASKS:
            near, known = suggestion(given, TASKS), ", ".join(f'"{name}"' for name in TASKS)
            raise UsageError(f"task is {known} or an object like concord.Task, got {given!r}{near}")
        return given
    return refuse_task(given)


def named_task(task: Any, members: Mapping[str, nn.Module], data: Given) -> Any:
    """The task of that name with as many classes as members give logits; another task as it is.

    A classifier has as many as the data name, where they do.
    """
    refuse_other(data)
    if not isinstance(task, str):
        return task
    kind = TASKS[task]
    known = classes_of(data) if kind.make is Classify else None
    return kind.make(known or widths(members, sample_inputs(data), kind.logits))

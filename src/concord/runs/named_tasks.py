"""Tasks by name, most with a number of classes that is found in the data or in what members give."""

from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple

from torch import Tensor, nn

from concord.consensus import names
from concord.errors import UsageError, suggestion
from concord.runs.given import Given, class_names, classes_of, refuse_other, sample_inputs
from concord.runs.own_members import refuse_task, widths
from concord.runs.vision.heads import one_head
from concord.runs.vision.settings import DETECT
from concord.tasks.classify import Classify
from concord.tasks.ctc import Labelling
from concord.tasks.detect import Detect
from concord.tasks.detection.v1 import YoloV1
from concord.tasks.frames import Frames
from concord.tasks.regress import Regress
from concord.tasks.segment import Segment
from concord.tasks.steps import Steps
from concord.tasks.task import Task

TaskName = Literal[
    "classify", "sequence", "segments", "language", "ctc", "regression", "frames", "segment", "detect"
]


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
    "segment": Kind(Segment, "(B, K, H, W)"),
}
WITHOUT_CLASSES: Mapping[str, Task[Any]] = {"regression": Regress(), "frames": Frames()}
NUMBERS = (names.NONE, "l2", "l1")  # costs between numbers of any meaning
PROBABILITIES = (names.NONE, *names.PAIRS)  # KDCL needs a class for each row, too
COSTS: Mapping[type, tuple[str, ...]] = {Regress: NUMBERS, Frames: PROBABILITIES, Labelling: PROBABILITIES}


def task_or_name(given: Any) -> Any:
    """A task, or the name of one that is made when the number of classes is known.

    UsageError for another name, and for an object that lacks a part of the protocol.
    """
    if not isinstance(given, str):
        return refuse_task(given)
    if given in WITHOUT_CLASSES:
        return WITHOUT_CLASSES[given]
    if given != DETECT and given not in TASKS:
        every = (*TASKS, DETECT, *WITHOUT_CLASSES)
        near, known = suggestion(given, every), ", ".join(f'"{name}"' for name in every)
        raise UsageError(f"task is {known} or an object like concord.Task, got {given!r}{near}")
    return given


def refuse_cost(cost: str, task: Any) -> None:
    """UsageError for a cost between what the members of such a task do not give.

    A user's own function, and any cost of a task that is not concord's, may be what they like.
    """
    known = _costs(task)
    if known is None or cost in known or cost.startswith(names.OWN):
        return
    shown = repr(task if isinstance(task, str) else type(task).__name__)
    needs = "a class for every row" if cost in names.KDCL else "logits of classes"
    raise UsageError(
        f"the consensus {cost!r} needs {needs}, which the task {shown} does not have; use"
        f" {' or '.join(known[1:])}, or a function of two batches of rows (R, K) to (R,)"
    )


def _costs(task: Any) -> tuple[str, ...] | None:
    """The costs that fit what members give, the first one none; None where any may."""
    if task == DETECT or isinstance(task, Detect):  # a name may yet be of any version
        return NUMBERS if isinstance(task, Detect) and isinstance(task.head, YoloV1) else None
    kind = TASKS[task].make if isinstance(task, str) else type(task)
    return COSTS.get(kind) if isinstance(kind, type) else None


def named_task(task: Any, members: Mapping[str, nn.Module], data: Given) -> Any:
    """The task of that name with as many classes as members give logits; another task as it is.

    For classes of samples and of pixels there are as many as the data name, where they do.
    """
    refuse_other(data)
    if not isinstance(task, str):
        return task
    if task == DETECT:
        return _detect(members, data)
    kind = TASKS[task]
    known = classes_of(data) if kind.make in (Classify, Segment) else None
    return kind.make(known or widths(members, sample_inputs(data), kind.logits))


def _detect(members: Mapping[str, nn.Module], data: Given) -> Detect:
    """The task of the head that the members describe, for pictures of the size of the data."""
    x = sample_inputs(data)
    if not isinstance(x, Tensor) or x.ndim != 4:
        given = f"shape {tuple(x.shape)}" if isinstance(x, Tensor) else f"a {type(x).__name__}"
        raise UsageError(f"boxes are found in pictures (B, C, H, W), got {given}")
    head = one_head(members, (x.shape[2], x.shape[3]))
    known = class_names(data)
    return Detect(head, names=known if len(known) == head.classes else ())

"""A training that can start, whatever it is a training of: the seam between a kind of data and a run."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, Generic, Protocol

from concord.runs.config import Config
from concord.runs.folder import RunFolder
from concord.runs.result import Result
from concord.runs.sequences.result import SequenceResult
from concord.runs.vision.result import VisionResult
from concord.runs.watching import Stop, never
from concord.tasks.task import S
from concord.training.checkpoint import Checkpoint
from concord.training.final import Final
from concord.training.job import Job
from concord.training.observer import SILENT, Observer

RunResult = Result | SequenceResult | VisionResult[Any]


@dataclass(frozen=True)
class Call:
    """What whoever calls for a training gives beside its settings."""

    allow_code: Collection[str] = ()
    observer: Observer = SILENT
    stop: Stop = never
    allow_changes: bool = False
    strict: bool = False


@dataclass(frozen=True)
class Ready(Generic[S]):
    """A job with the run folder as its store, the settings that it resolved, and what comes of its end."""

    job: Job[S]
    config: Config
    interface: Mapping[str, Any]  # what interface.json holds
    result: Callable[[Final[S], tuple[str, ...]], RunResult]  # of these figures and notices


class Kind(Protocol):
    """How the runs of some tasks are made. Nothing is written: the folder comes after it."""

    def new(self, folder: RunFolder, asked: Config, call: Call) -> Ready[Any]: ...

    def again(self, folder: RunFolder, asked: Config, found: Checkpoint | None, call: Call) -> Ready[Any]: ...

    def read(self, folder: RunFolder) -> RunResult: ...  # the result of a complete run

"""What a finished training stands for."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Generic

from torch import Tensor

from concord.errors import StoppedError
from concord.tasks.task import S
from concord.training.epoch import Epoch
from concord.training.evaluate import Evaluated, InterruptedEvaluation, Samples, evaluate, scores_of
from concord.training.job import Job
from concord.training.position import step_name
from concord.training.state import unpack_members


@dataclass(frozen=True)
class Final(Generic[S]):
    """Scores and predictions of the weights that the training stands for, and what it took."""

    test: S
    valid: S | None
    predictions: Mapping[str, Mapping[str, Tensor]]  # of the test set: member -> key -> (N, ...)
    targets: Tensor | None  # of the same samples
    seconds: float
    samples_per_second: float
    epochs: int
    checkpoint: str


def final(job: Job[S], best: str | None, last: Epoch[S] | None) -> Final[S]:
    """Scores of the last epoch; with early stopping, of the ``best`` one, whose weights the members get.

    ``last`` is the epoch that has just ended, whose predictions are used. Raises StoppedError when the job's
    ``stop`` says so.
    """
    lines = job.store.lines()
    seconds = sum(line["seconds"] for line in lines)
    rate = sum(line["seconds"] * line["samples_per_second"] for line in lines) / seconds
    here = step_name(lines[-1]["step"])
    chosen = here if job.plan.patience is None or best is None else best
    if chosen == here and last is not None and last.test is not None:
        return Final(last.test, last.valid, last.predictions, last.targets, seconds, rate, len(lines), here)
    unpack_members(job.members, job.store.weights(chosen))
    tested = _evaluated(job, job.feed.test(), keep=True)
    valid = _evaluated(job, job.feed.valid()) if job.feed.has_valid else None
    names = list(job.members)
    return Final(
        scores_of(job.task, tested, names),
        None if valid is None else scores_of(job.task, valid, names),
        tested.predictions,
        tested.targets,
        seconds,
        rate,
        len(lines),
        chosen,
    )


def _evaluated(job: Job[S], samples: Samples, *, keep: bool = False) -> Evaluated:
    try:
        return evaluate(job.members, samples, job.task, keep=keep, stop=job.stop)
    except InterruptedEvaluation:
        raise StoppedError(job.store.stopped(job.store.lines()[-1]["step"])) from None

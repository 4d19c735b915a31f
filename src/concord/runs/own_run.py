"""Driving a training of a Python user's modules to its end, and the files that end a run."""

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from concord.cost.count import count as count_cost
from concord.errors import ConcordError, ShapeError
from concord.runs import machine, predictions, uncertainty
from concord.runs.config import Config
from concord.runs.cycles import ends_of_cycles
from concord.runs.folder import RunFolder, locked
from concord.runs.history import History
from concord.runs.result import MemberResult, Result, diversity_of, ensemble_of
from concord.tasks.classify import ClassScores
from concord.tasks.task import S, Tree
from concord.training.epoch import Epoch
from concord.training.evaluate import modes_kept
from concord.training.final import Final, final
from concord.training.fit import Training
from concord.training.job import Job
from concord.training.position import step_name


def run(job: Job[S], out: Path | None, config: Config) -> History[S]:
    """Train to the end. In a run folder: from where it stands, and nothing more if it is complete.

    Afterwards the process and the modes of the members are as they were before.
    """
    with closing(job.feed), _held(out) as folder, machine.settled(config), modes_kept(job.members):
        training, fresh = Training(job), []
        last: Epoch[S] | None = None
        for event in training.run():
            last = event if isinstance(event, Epoch) else None
            if last is not None:
                fresh.append(last)
        done = final(job, training.position.best_step, last)
        if folder is not None and (fresh or not folder.complete):
            _complete(folder, job, done, config, ends_of_cycles(config, job.feed.steps))
        return _history(job, done, fresh)


@contextmanager
def _held(out: Path | None) -> Iterator[RunFolder | None]:
    """The run folder, locked while it is used."""
    if out is None:
        yield None
        return
    folder = RunFolder(out)
    with locked(folder):
        yield folder


def _history(job: Job[S], done: Final[S], fresh: list[Epoch[S]]) -> History[S]:
    """All epochs: those of this call as they were made, those of earlier ones as the store has them."""
    lines = job.store.lines()
    epochs = [*(Epoch.read(line, job.task) for line in lines[: len(lines) - len(fresh)]), *fresh]
    best = next(epoch.epoch for epoch in epochs if step_name(epoch.step) == done.checkpoint)
    return History(
        tuple(epochs), done.test, done.valid, done.seconds, best, done.predictions, job.feed.notices
    )


def _complete(
    folder: RunFolder, job: Job[S], done: Final[S], config: Config, snapshots: Sequence[str]
) -> None:
    """The files that end a run, under a seal with the weights of these checkpoints."""
    if isinstance(done.test, ClassScores):
        result = _class_result(folder, job, done, config).to_dict()  # type: ignore[arg-type]
    else:
        valid = None if done.valid is None else done.valid.to_dict()
        result = {"members": {}, **done.test.to_dict(), "valid": valid, **_spent(folder, job, done)}
    kept = {predictions.FILE: predictions.content_of(done.predictions, predictions.truth(done))}
    folder.complete_with(result, kept if done.predictions else {}, snapshots)


def _spent(folder: RunFolder, job: Job[Any], done: Final[Any]) -> dict[str, Any]:
    return {
        "run": str(folder.path),
        "seconds": done.seconds,
        "samples_per_second": done.samples_per_second,
        "epochs": done.epochs,
        "checkpoint": done.checkpoint,
        "fingerprint": job.feed.fingerprint,
        "notices": list(job.feed.notices),
    }


def _class_result(
    folder: RunFolder, job: Job[ClassScores], done: Final[ClassScores], config: Config
) -> Result:
    x, _ = next(iter(job.feed.test()))
    members = {
        name: MemberResult(
            figures.error,
            done.valid.members[name].error if done.valid else None,
            figures.nll,
            figures.ece,
            figures.balanced_accuracy,
            *_price(job.members[name], x),
        )
        for name, figures in done.test.members.items()
    }
    spent = _spent(folder, job, done)
    notices = tuple(spent.pop("notices"))
    return Result(
        members,
        ensemble_of(done.test, done.valid),
        diversity_of(done.test),
        notices=notices,
        uncertainty=uncertainty.measured(job, done, config.train),
        **spent,
    )


def _price(member: nn.Module, x: Tree) -> tuple[int, int | None]:
    """Parameters and multiply-accumulates; None for the latter where they cannot be counted."""
    arguments = x if isinstance(x, tuple) else (x,)
    try:
        if not all(isinstance(one, Tensor) for one in arguments):
            raise ShapeError("only tensors can be counted")
        spent = count_cost(member, *(one[:1] for one in arguments))
    except ConcordError:
        return sum(p.numel() for p in member.parameters()), None
    return spent.parameters, spent.macs

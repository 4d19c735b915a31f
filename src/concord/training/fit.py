"""A whole training: epochs of the loop, evaluation, figures, saves, exact resume.

``fit`` is a generator too: it yields every ``Step`` and, at the end of an epoch, an ``Epoch``, and leaves
display to whoever iterates. What a later update needs is either a pure function of (seed, epoch, step), as
the order of batches, augmentation and dropout are, or is part of what the store saves.
"""

import time
from collections.abc import Iterator, Mapping
from math import isfinite
from typing import Any, Generic

from torch import Tensor, nn

from concord.errors import DivergedError, StoppedError, amount
from concord.tasks.task import S
from concord.training.average import Averages
from concord.training.batch import Batch
from concord.training.beside import Beside
from concord.training.cohort import Cohort
from concord.training.dense import refuse_unsaved
from concord.training.divergence import CURE, Unmoved, refuse_not_finite
from concord.training.epoch import Epoch
from concord.training.evaluate import Evaluated, InterruptedEvaluation, Samples, evaluate, scores_of
from concord.training.foreign import blamed
from concord.training.job import Job
from concord.training.loop import Step, train
from concord.training.moments import check_like
from concord.training.observer import announce
from concord.training.optim import set_rate
from concord.training.position import Position
from concord.training.probe import probed
from concord.training.state import pack_optimizer, state_of, unpack_members, unpack_optimizer
from concord.training.store import Saved


class Training(Generic[S]):
    """One training in progress: the job, its optimiser and its position. Driven by ``run``."""

    def __init__(self, job: Job[S]) -> None:
        self.job = job
        self.optimizer = job.plan.optimizer(job.members)
        self.averages = Averages(job.members, job.plan.ema)
        built = job.beside or {name: Beside(name, member) for name, member in job.members.items()}
        self.beside = {name: built[name].untold() for name in job.members}
        self.lost: list[str] = []  # what changed in members and no checkpoint holds
        self.position = Position()
        self.saved_at = time.monotonic()
        self.unmoved: Unmoved | None = None  # of a whole epoch alone
        self.first_rate: float | None = None

    def restore(self) -> None:
        """Continue from what the store has, if it has anything."""
        saved = self.job.store.load()
        if saved is None:
            self.averages.start()
            return
        unpack_members(self.job.members, saved.members)
        if saved.optimizer is not None:
            check_like(self.optimizer, self.job.members, saved.optimizer, "the saved state", saved.without)
            unpack_optimizer(self.optimizer, self.job.members, saved.optimizer)
        self.averages.start()
        raw = {name: tensors for name, tensors in saved.raw.items() if name in self.averages.learners}
        unpack_members({name: self.job.members[name] for name in raw}, raw)
        self.position = saved.position

    def save(self) -> None:
        """Save this moment; DivergedError if a parameter or a moment of the optimiser is not finite.

        UsageError that names the member whose own code fails, or gives what no checkpoint can hold.
        """
        refuse_not_finite(self.job.members, self.optimizer, self.index)
        optimizer = pack_optimizer(self.optimizer, self.job.members)
        with self.averages.shown() as raw:
            members = {name: self._state_of(name, member) for name, member in self.job.members.items()}
            self.job.store.save(Saved(self.index, self.position, members, optimizer, raw=raw))
        for sentence in (text for one in self.beside.values() for text in one.lost()):
            self.lost.append(sentence)
            announce(self.job.observer, sentence)
        self.saved_at = time.monotonic()

    def _state_of(self, name: str, member: nn.Module) -> dict[str, Tensor]:
        """All that a checkpoint holds of a member."""
        moment = f"when its state was saved after {amount(self.index, 'update')}"
        with blamed(name, member, moment, ". Checkpoints made before are intact"):
            state = state_of(member) | self.beside[name].tensors()
            refuse_unsaved(name, state)
            return state | probed(name, member, self.job.probes.get(name))

    @property
    def index(self) -> int:
        """Updates done since the start of the training."""
        return self.position.epoch * self.job.feed.steps + self.position.step

    def epoch(self) -> Iterator[Step]:
        """The remaining updates of the epoch in progress."""
        job, position = self.job, self.position
        self.unmoved = None if position.step else Unmoved(job.members, self.optimizer)
        last = job.store.lines()[-1:] or [{}]
        consensus, edges = job.plan.bind(position.epoch, last[0].get("valid"))
        cohort = Cohort(
            job.members, job.task, consensus, edges, job.precision, job.seeds, job.adversarial, job.stacks
        )
        updates = train(
            cohort,
            self._batches(),
            self.optimizer,
            weight=job.plan.weight,
            rule=job.plan.rule,
            start=self.index,
        )
        began = time.perf_counter()
        for step in updates:
            self.averages.update(step.index)
            position.add(step, job.task.tally(step.outputs, step.targets), time.perf_counter() - began)
            yield step
            self._between_updates()
            began = time.perf_counter()

    def _batches(self) -> Iterator[Batch]:
        start, rate = self.index, self.job.plan.rate
        for index, batch in enumerate(self.job.feed.train(self.position.epoch, self.position.step), start):
            if rate is not None:
                set_rate(self.optimizer, rate(index))
            yield batch

    def _between_updates(self) -> None:
        if self.job.stop():
            self.stop()
        if time.monotonic() - self.saved_at > self.job.plan.checkpoint_seconds:
            self.save()

    def stop(self) -> None:
        """Save and raise StoppedError."""
        self.save()
        raise StoppedError(self.job.store.stopped(self.index))

    def close_epoch(self) -> Epoch[S]:
        """Evaluate, log and save."""
        job, position, plan = self.job, self.position, self.job.plan
        refuse_not_finite(job.members, self.optimizer, self.index)
        sums, names = position.sums(), list(job.members)
        losses = {n: loss / sums["samples"] for n, loss in zip(names, sums["loss"], strict=True)}
        self._refuse_unmoved(losses)
        valid = self._scores(self._evaluated(job.feed.valid())) if job.feed.has_valid else None
        watched = None if valid is None else job.task.watched(valid)
        after = position.closed(self.index, watched, plan.epochs, plan.patience)
        tested = None
        if after.finished or plan.test_each_epoch:
            tested = self._evaluated(job.feed.test(), keep=after.finished)
        done = Epoch(
            epoch=position.epoch + 1,
            step=self.index,
            learning_rate=self._rate(),
            weight=plan.weight(self.index - 1),
            seconds=position.epoch_seconds,
            samples_per_second=sums["samples"] / position.epoch_seconds,
            consensus=sums["consensus"] / sums["compared"] if sums["compared"] else None,
            losses=losses,
            train=job.task.scores(position.totals["tally"], names),
            valid=valid,
            test=None if tested is None else self._scores(tested),
            predictions=tested.predictions if tested else {},
            targets=tested.targets if tested else None,
            last=after.finished,
        )
        job.store.append(done.to_dict())
        self.position = after
        self.save()
        return done

    def _refuse_unmoved(self, losses: Mapping[str, float]) -> None:
        """DivergedError if a member stands where it stood at the start of the epoch, see ``Unmoved``."""
        rate, plan = self._rate(), self.job.plan
        if self.first_rate is None:
            self.first_rate = rate if plan.rate is None else plan.rate(self.job.feed.steps - 1)
        if self.unmoved is not None:
            self.unmoved.refuse(losses, rate, self.first_rate, self.index)

    def _rate(self) -> float:
        """The rate of the last update."""
        if self.job.plan.rate is not None:
            return self.job.plan.rate(self.index - 1)
        return float(self.optimizer.param_groups[0]["lr"])

    def _evaluated(self, samples: Samples, *, keep: bool = False) -> Evaluated:
        try:
            with self.averages.shown():
                return evaluate(self.job.members, samples, self.job.task, keep=keep, stop=self.job.stop)
        except InterruptedEvaluation:
            self.stop()
            raise

    def _scores(self, found: Evaluated) -> S:
        scores = scores_of(self.job.task, found, list(self.job.members))
        bad = [name for name, figures in scores.to_dict()["members"].items() if not _finite(figures)]
        if bad:
            raise DivergedError(
                f"predictions of {', '.join(bad)} after {amount(self.index, 'update')} are not finite;"
                f" {CURE}",
                bad,
            )
        return scores

    def run(self) -> Iterator[Step | Epoch[S]]:
        """Everything from where the store stands to the end; see ``fit``."""
        job = self.job
        self.restore()
        if not self.position.finished:
            job.observer.started(job.plan.epochs, job.feed.steps)
        if job.stop():
            self.stop()
        while not self.position.finished:
            for step in self.epoch():
                job.observer.update(step)
                yield step
            done = self.close_epoch()
            job.observer.epoch(done)
            yield done
        self.averages.settle()


def _finite(figures: dict[str, Any]) -> bool:
    return all(isfinite(value) for value in figures.values() if isinstance(value, int | float))


def fit(job: Job[S]) -> Iterator[Step | Epoch[S]]:
    """Train from what the job's store has (or from the start) to the end.

    Yields every Step, and an Epoch at the end of each. Raises StoppedError after saving when ``job.stop``
    says so, DivergedError, ResourceError, and whatever the store refuses.
    """
    return Training(job).run()

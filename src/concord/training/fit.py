"""A whole training: epochs of the loop, evaluation, metrics, checkpoints, exact resume.

``fit`` is a generator too: it yields every ``Step`` and, at the end of an epoch, the row that went into
metrics.jsonl, and leaves display to whoever iterates. What a later update needs is either a pure function of
(seed, epoch, step), as the order of batches, augmentation and dropout are, or stands in the checkpoint.
"""

import time
from collections.abc import Iterator
from math import isfinite
from typing import Any

from concord.errors import DivergedError, StoppedError
from concord.runs.changes import adapted, differences, position_of, refuse
from concord.runs.plan import consensus_of, edges_of, weight_of
from concord.training import checkpoint, evaluate
from concord.training.agreement import Batch
from concord.training.job import Job
from concord.training.loop import Step, train
from concord.training.optim import learning_rate, make_optimizer, set_rate
from concord.training.position import Position
from concord.training.state import pack_optimizer, unpack_members, unpack_optimizer

KEEP = 2  # newest checkpoints
CURE = "checkpoints made before are intact. A smaller learning rate or train.clip usually helps"


class Training:
    """One training in progress: the job, its optimiser and its position. Made and driven by ``fit``."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.optimizer = make_optimizer(job.members, job.config.train)
        self.rate = learning_rate(job.config.train, job.feed.steps)
        self.position = Position()
        self.saved_at = time.monotonic()

    def restore(self, allow_changes: bool, strict: bool) -> None:
        """Go to the newest sound checkpoint, or the start; CheckpointError if it is of another run.

        ``strict``: CheckpointError too if a newer one is damaged.
        """
        job = self.job
        found, faults = checkpoint.newest(job.folder.checkpoints, strict)
        for fault in faults:
            job.warn(f"{fault}; falling back to an earlier checkpoint")
        changes = differences(job.folder, found, job.config, job.feed.fingerprint)
        if not allow_changes:
            refuse(found.path if found else job.folder.path, changes)
        if found is None:
            job.folder.cut(0)
        else:
            self._take(found, bool(changes))
        if changes:
            self._accept(changes, found is not None)
        elif job.folder.config().data.source != job.config.data.source:
            job.folder.reopen(job.config)

    def _take(self, found: checkpoint.Checkpoint, changed: bool) -> None:
        job = self.job
        position = position_of(found, job.task.size)
        if changed:
            position = adapted(position, found.state, job.config, job.feed.steps)
        unpack_members(job.members, found)
        kind, before = job.config.train.optimizer.kind, found.state["config"]["train"]["optimizer"]["kind"]
        if kind == before:
            unpack_optimizer(self.optimizer, job.members, found.tensors["optimizer"])
        else:
            job.warn(f"{kind} cannot go on from what {before} remembers: its moments start at 0")
        self.position = position
        job.folder.cut(found.state["metrics_bytes"])
        checkpoint.set_aside(job.folder.checkpoints, found.path)

    def _accept(self, changes: list[str], begun: bool) -> None:
        job = self.job
        job.warn("going on with changes:\n" + "\n".join(f"  {change}" for change in changes))
        if begun:  # other batches may mean other numbers of updates, and only the newest checkpoint counts
            self._commit()
            checkpoint.set_aside(job.folder.checkpoints, job.folder.checkpoints / self.step_name)
        job.folder.reopen(job.config)

    def save(self) -> None:
        """Commit a checkpoint of this moment; DivergedError if a parameter is not finite."""
        self._commit()
        checkpoint.prune(self.job.folder.checkpoints, KEEP, self.position.best_step)
        self.saved_at = time.monotonic()

    def _commit(self) -> None:
        job, position = self.job, self.position
        self._check_parameters()
        tensors: dict[str, checkpoint.Tensors] = {
            f"member-{name}": member.state_dict() for name, member in job.members.items()
        }
        tensors["optimizer"] = pack_optimizer(self.optimizer, job.members)
        tensors["totals"] = position.totals
        state = {
            "position": position.plain(),
            "metrics_bytes": job.folder.logged(),
            "config": job.config.model_dump(mode="json"),
            "fingerprint": job.feed.fingerprint,
            "interface": job.interface,
            "steps": job.feed.steps,
        }
        checkpoint.save(job.folder.checkpoints, self.index, tensors, state)

    def _check_parameters(self) -> None:
        bad = [n for n, m in self.job.members.items() if not all(p.isfinite().all() for p in m.parameters())]
        if bad:
            raise DivergedError(
                f"parameters of {', '.join(bad)} are not finite after {self.index} updates; {CURE}", bad
            )

    @property
    def index(self) -> int:
        """Updates done since the start of the training."""
        return self.position.epoch * self.job.feed.steps + self.position.step

    @property
    def step_name(self) -> str:
        """Name of the checkpoint of this moment."""
        return f"step-{self.index:08d}"

    def epoch(self) -> Iterator[Step]:
        """The remaining updates of the epoch in progress."""
        job, position, settings = self.job, self.position, self.job.config
        seen = job.folder.rows()[-1:] or [{}]
        edges = edges_of(settings, position.epoch, seen[0].get("valid"))
        updates = train(
            list(job.members.values()),
            self._batches(),
            self.optimizer,
            task=job.task,
            consensus=consensus_of(settings.consensus, len(job.members), seen[0].get("valid")),
            edges=edges,
            weight=weight_of(settings.consensus, settings.train.epochs * job.feed.steps),
            alternating=settings.train.update == "alternating",
            precision=job.precision,
            clip=settings.train.clip,
            seeds=job.seeds,
            names=list(job.members),
            adversarial=job.adversarial,
            stacks=job.stacks,
            most=settings.train.micro_batch,
            start=self.index,
        )
        began = time.perf_counter()
        for step in updates:
            tally = job.task.tally(step.logits, step.targets)
            position.add(step, tally, len(step.targets[0]), time.perf_counter() - began)
            yield step
            self._between_updates()
            began = time.perf_counter()

    def _batches(self) -> Iterator[Batch]:
        start = self.index
        for index, batch in enumerate(self.job.feed.train(self.position.epoch, self.position.step), start):
            set_rate(self.optimizer, self.rate(index))
            yield batch

    def _between_updates(self) -> None:
        if self.job.stop():
            self.stop()
        if time.monotonic() - self.saved_at > self.job.config.train.checkpoint_seconds:
            self.save()

    def stop(self) -> None:
        """Save and raise StoppedError."""
        self.save()
        how = self.job.folder.resume
        raise StoppedError(f"stopped after {self.index} updates, saved: {how} goes on from here")

    def close_epoch(self) -> dict[str, Any]:
        """Evaluate, log and save; gives the row of metrics.jsonl."""
        job, position, settings = self.job, self.position, self.job.config.train
        self._check_parameters()
        updates = settings.epochs * job.feed.steps
        row = {
            "epoch": position.epoch + 1,
            "step": self.index,
            "learning_rate": self.rate(self.index - 1),
            "weight": weight_of(job.config.consensus, updates)(self.index - 1),
            **position.averages(job.task, list(job.members)),
        }
        row["valid"] = self._scores(job.feed.valid()) if job.feed.has_valid else None
        after = position.closed(self.index, row["valid"], settings.epochs, settings.patience)
        row["test"] = self._scores(job.feed.test()) if after.finished or settings.test == "epoch" else None
        job.folder.append(row)
        self.position = after
        self.save()
        return row

    def _scores(self, samples: evaluate.Samples) -> dict[str, Any]:
        members = list(self.job.members.values())
        try:
            tally = evaluate.tally(members, samples, self.job.task, self.job.precision, self.job.stop)
        except evaluate.InterruptedEvaluation:
            self.stop()
            raise
        scores = self.job.task.scores(tally, list(self.job.members))
        bad = [name for name, score in scores["members"].items() if not isfinite(score["nll"])]
        if bad:
            raise DivergedError(
                f"what {', '.join(bad)} says after {self.index} updates is not finite; {CURE}", bad
            )
        return scores


def fit(job: Job, *, allow_changes: bool = False, strict: bool = False) -> Iterator[Step | dict[str, Any]]:
    """Train from the newest checkpoint of the job's folder (or from the start) to the end.

    Yields every Step, and the row of metrics.jsonl at the end of each epoch. Raises StoppedError after saving
    when ``job.stop`` says so, DivergedError, ResourceError, and CheckpointError when the folder is of another
    run or, if ``strict``, its newest checkpoint is damaged.
    """
    training = Training(job)
    training.restore(allow_changes, strict)
    if job.stop():
        training.stop()
    while not training.position.finished:
        yield from training.epoch()
        yield training.close_epoch()

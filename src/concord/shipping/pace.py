"""How fast a configuration trains on this machine, from a short trial of it."""

import tempfile
import time
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from concord.data.batches import steps_per_epoch
from concord.runs import assemble, machine
from concord.runs import folder as run_folder
from concord.runs.config import Config
from concord.runs.job import make_job
from concord.shipping.budget import Line
from concord.shipping.material import Material
from concord.training.evaluate import evaluate
from concord.training.fit import Training
from concord.training.job import Job
from concord.training.loop import Step

SECONDS = 0.7  # of updates that are timed, at least
FIRST = 2  # updates before them: the first ones are slower
LEAST = 3  # updates that are timed
BATCHES = 3  # of held-out images


@dataclass(frozen=True)
class Pace:
    """Seconds that the parts of a training take here."""

    update: float
    image: float  # to predict one held-out image
    save: float  # of a checkpoint
    start: float  # of a run, from its configuration to its first update

    def line(self, work: "Work") -> Line:
        """A run over its epochs: data are read, every epoch is validated and saved, the end is tested, and
        validated once more for the uncertainty."""
        epoch = work.updates * self.update + work.valid * self.image + self.save
        return Line(work.reading + self.start + (work.valid + work.test) * self.image, epoch)


@dataclass(frozen=True)
class Work:
    """What every run has to do, whatever it trains."""

    updates: int  # of an epoch
    valid: int  # images
    test: int
    reading: float  # seconds

    @classmethod
    def of(cls, material: Material, batch_size: int) -> "Work":
        splits = material.splits
        updates = steps_per_epoch(len(splits.train), batch_size)
        return cls(updates, len(splits.valid), len(splits.test), material.seconds)


def measured(config: Config, material: Material) -> Pace:
    """The pace of this configuration, with its data, on this machine. Nothing of it is kept."""
    began = time.perf_counter()
    settled = machine.resolved(config)
    with machine.settled(settled), tempfile.TemporaryDirectory() as scratch:
        members = assemble.build_members(settled, material.interface, ())
        folder = run_folder.create(Path(scratch, "run"), settled, {}, material.interface.plain())
        job = make_job(folder, settled, material.splits, members, material.interface)
        with closing(job.feed):
            training = Training(job)
            start = time.perf_counter() - began
            update = _update(training)
            began = time.perf_counter()
            training.save()
            saved = time.perf_counter() - began
            return Pace(update, _image(job), saved, start)


def _update(training: Training[Any]) -> float:
    """Seconds of an update, from one to the next within an epoch."""
    taken: list[float] = []
    last: float | None = None
    seen = 0
    for event in training.run():
        now = time.perf_counter()
        if isinstance(event, Step):
            seen += 1
            if last is not None and seen > FIRST:
                taken.append(now - last)
        last = now
        if sum(taken) > SECONDS and len(taken) >= LEAST:
            break
    return sum(taken) / len(taken)


def _image(job: Job[Any]) -> float:
    """Seconds to predict one held-out image."""
    images = sum(len(y) for _, y in islice(job.feed.valid(), BATCHES))
    evaluate(job.members, islice(job.feed.valid(), 1), job.task)
    began = time.perf_counter()
    evaluate(job.members, islice(job.feed.valid(), BATCHES), job.task)
    return (time.perf_counter() - began) / images

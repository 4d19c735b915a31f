"""Runs of a search: each in OUT/runs/NAME, trained once, continued where it stopped."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from concord.errors import StoppedError
from concord.runs.config import Member
from concord.runs.config_consensus import Consensus
from concord.runs.folder import RunFolder
from concord.runs.result import Result
from concord.runs.train import read_result, resume, train
from concord.runs.watching import Stop
from concord.shipping.journal import Journal
from concord.shipping.material import Material
from concord.shipping.recipe import config_of
from concord.studies.cells import check_cells
from concord.studies.rows import GridCell
from concord.training.observer import Observer, Silent


class _Inside(Silent):
    """The observer of one run of many: its notices are those of all of them, and stay out."""

    def __init__(self, outer: Observer) -> None:
        self.outer = outer

    def started(self, epochs: int, steps: int) -> None:
        self.outer.started(epochs, steps)

    def update(self, step: Any) -> None:
        self.outer.update(step)

    def epoch(self, epoch: Any) -> None:
        self.outer.epoch(epoch)


@dataclass(frozen=True)
class Runner:
    """What every run of a search needs, and where it is kept."""

    folder: Path
    material: Material
    threads: int
    journal: Journal
    observer: Observer
    stop: Stop

    @property
    def runs(self) -> Path:
        return self.folder / "runs"

    def run(
        self, name: str, members: Sequence[Member], *, epochs: int, consensus: Consensus | None = None
    ) -> Result:
        """The result of the run of that name, which is trained or continued if it has none yet.

        StoppedError when ``stop`` says so, with everything saved. CheckpointError if another run lies there.
        DivergedError if a loss is not a number.
        """
        config = config_of(self.material, members, epochs=epochs, threads=self.threads, consensus=consensus)
        cost = config.consensus.cost
        cell = GridCell(
            name, cost, config.consensus.weight, tuple(m.name for m in members), config.train.seed, config
        )
        check_cells(self.runs, [cell])
        path, inside = self.runs / name, _Inside(self.observer)
        if self.stop():
            raise self._stopped()
        if RunFolder(path).complete:
            return self.read(path)
        began = time.perf_counter()
        try:
            if (path / "config.toml").exists():
                resume(path, observer=inside, stop=self.stop)
            else:
                train(config, path, observer=inside, stop=self.stop)
        except StoppedError:
            raise self._stopped() from None
        finally:
            self.journal.spend(name, time.perf_counter() - began)
        return self.read(path)

    def read(self, path: Path) -> Result:
        """The result of a finished run."""
        found = read_result(RunFolder(path))
        assert isinstance(found, Result)
        return found

    def finished(self, names: Sequence[str]) -> int:
        """How many of the runs of these names have a result already."""
        return sum(RunFolder(self.runs / name).complete for name in names)

    def seconds(self, name: str, result: Result) -> float:
        """Of a finished run, by the clock; of a process that was killed the updates alone are known."""
        return max(self.journal.spent(name), result.seconds + self.material.seconds)

    def _stopped(self) -> StoppedError:
        return StoppedError("stopped, everything is saved: the same command continues from here")

"""How far a training is."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from concord.tasks.classify import Classify
from concord.training.loop import Step


@dataclass
class Position:
    """Epochs and updates done, the best epoch so far, and the sums of the epoch in progress."""

    epoch: int = 0  # epochs finished
    step: int = 0  # updates done in the epoch in progress
    seconds: float = 0.0  # spent in updates, all epochs
    epoch_seconds: float = 0.0
    best: float | None = None  # lowest validation error of the ensemble
    best_step: str | None = None  # name of its checkpoint
    stale: int = 0  # epochs since
    finished: bool = False
    totals: dict[str, Tensor] = field(default_factory=dict)

    def plain(self) -> dict[str, Any]:
        """Everything but the totals, for JSON."""
        return {k: v for k, v in vars(self).items() if k != "totals"}

    def averages(self, task: Classify, names: Sequence[str]) -> dict[str, Any]:
        """True averages over the epoch of what the members said while they were learning, and its speed.

        The consensus cost is that of the updates which had one; None if none had.
        """
        sums: dict[str, Any] = {k: v.tolist() for k, v in self.totals.items() if k != "tally"}
        scores = task.scores(self.totals["tally"], names)
        for name, loss in zip(names, sums["loss"], strict=True):
            scores["members"][name]["loss"] = loss / sums["samples"]
        return {
            "seconds": self.epoch_seconds,
            "samples_per_second": sums["samples"] / self.epoch_seconds,
            "consensus": sums["consensus"] / sums["compared"] if sums["compared"] else None,
            "train": scores,
        }

    def closed(
        self, index: int, valid: Mapping[str, Any] | None, epochs: int, patience: int | None
    ) -> "Position":
        """The position after this epoch, whose checkpoint is that of update ``index``."""
        best, best_step, stale = self.best, self.best_step, self.stale
        if valid:
            error = valid["ensemble"]["error"]
            better = best is None or error < best
            stale = 0 if better else stale + 1
            if better:
                best, best_step = error, f"step-{index:08d}"
        finished = self.epoch + 1 == epochs or (patience is not None and stale >= patience)
        return Position(self.epoch + 1, 0, self.seconds, 0.0, best, best_step, stale, finished)

    def add(self, step: Step, tally: Tensor, samples: int, seconds: float) -> None:
        """Take in one update on so many samples."""
        sums = {
            "loss": step.losses.double() * samples,
            "consensus": step.consensus.double() * samples,
            "samples": step.losses.new_tensor(samples).double(),
            "compared": step.consensus.new_tensor(samples if step.weight else 0).double(),
            "tally": tally,
        }
        self.totals = {k: self.totals[k] + v if self.totals else v for k, v in sums.items()}
        self.step += 1
        self.seconds += seconds
        self.epoch_seconds += seconds

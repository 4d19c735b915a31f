"""How far a training is."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from concord.tasks.task import Watched
from concord.training.loop import Step


@dataclass
class Position:
    """Epochs and updates done, the best epoch so far, and the sums of the epoch in progress."""

    epoch: int = 0  # epochs finished
    step: int = 0  # updates done in the epoch in progress
    seconds: float = 0.0  # spent in updates, all epochs
    epoch_seconds: float = 0.0
    best: float | None = None  # best watched validation score
    best_step: str | None = None  # name of its checkpoint
    stale: int = 0  # epochs since
    finished: bool = False
    earlier: int = 0  # updates beyond these: changed settings made the epoch in progress start again
    totals: dict[str, Tensor] = field(default_factory=dict)

    def plain(self) -> dict[str, Any]:
        """Everything but the totals, for JSON."""
        return {k: v for k, v in vars(self).items() if k != "totals"}

    def sums(self) -> Mapping[str, Any]:
        """The totals as numbers, without the tally."""
        return {k: v.tolist() for k, v in self.totals.items() if k != "tally"}

    def closed(self, index: int, watched: Watched | None, epochs: int, patience: int | None) -> "Position":
        """The position after this epoch, whose checkpoint is that of update ``index``."""
        best, best_step, stale = self.best, self.best_step, self.stale
        if watched is not None:
            better = best is None or (
                watched.value < best if watched.less_is_better else watched.value > best
            )
            stale = 0 if better else stale + 1
            if better:
                best, best_step = watched.value, step_name(index)
        finished = self.epoch + 1 == epochs or (patience is not None and stale >= patience)
        return Position(self.epoch + 1, 0, self.seconds, 0.0, best, best_step, stale, finished, self.earlier)

    def add(self, step: Step, tally: Tensor, seconds: float) -> None:
        """Take in one update."""
        sums = {
            "loss": step.losses.double() * step.samples,
            "consensus": step.consensus.double() * step.samples,
            "samples": step.losses.new_tensor(step.samples).double(),
            "compared": step.consensus.new_tensor(step.samples if step.weight else 0).double(),
            "tally": tally,
        }
        self.totals = {k: self.totals[k] + v if self.totals else v for k, v in sums.items()}
        self.step += 1
        self.seconds += seconds
        self.epoch_seconds += seconds


def step_name(index: int) -> str:
    """Name of the checkpoint after ``index`` updates."""
    return f"step-{index:08d}"

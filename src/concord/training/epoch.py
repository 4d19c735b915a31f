"""What an epoch of a training amounts to."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Generic

from torch import Tensor

from concord.tasks.task import S, Task


@dataclass(frozen=True)
class Epoch(Generic[S]):
    """Figures of one epoch; ``to_dict`` is a line of metrics.jsonl.

    ``train`` and ``losses`` are true averages over the epoch of what members predicted while they were
    learning. ``consensus`` is that of the updates which had one; None if none had. ``predictions`` and
    ``targets`` are those of the test set, where it was predicted at the end of this epoch.
    """

    epoch: int  # from 1
    step: int  # updates done
    learning_rate: float
    weight: float  # of the consensus
    seconds: float
    samples_per_second: float
    consensus: float | None
    losses: Mapping[str, float]
    train: S
    valid: S | None
    test: S | None
    predictions: Mapping[str, Mapping[str, Tensor]] = field(default_factory=dict, repr=False, compare=False)
    targets: Tensor | None = field(default=None, repr=False, compare=False)
    last: bool = field(default=False, repr=False, compare=False)  # of the training, also if it stops early

    def to_dict(self) -> dict[str, Any]:
        """Plain values, with each member's loss beside its training scores."""
        train = self.train.to_dict()
        for name, loss in self.losses.items():
            train["members"][name]["loss"] = loss
        return {
            "epoch": self.epoch,
            "step": self.step,
            "learning_rate": self.learning_rate,
            "weight": self.weight,
            "seconds": self.seconds,
            "samples_per_second": self.samples_per_second,
            "consensus": self.consensus,
            "train": train,
            "valid": None if self.valid is None else self.valid.to_dict(),
            "test": None if self.test is None else self.test.to_dict(),
        }

    @classmethod
    def read(cls, line: Mapping[str, Any], task: Task[S]) -> "Epoch[S]":
        """The epoch that a line of metrics.jsonl describes."""
        parts = {key: line[key] and task.read(line[key]) for key in ("train", "valid", "test")}
        losses = {name: row["loss"] for name, row in line["train"]["members"].items()}
        return cls(
            line["epoch"],
            line["step"],
            line["learning_rate"],
            line["weight"],
            line["seconds"],
            line["samples_per_second"],
            line["consensus"],
            losses,
            parts["train"],
            parts["valid"],
            parts["test"],
        )

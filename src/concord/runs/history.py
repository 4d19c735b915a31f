"""The figures of a training, epoch by epoch."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Generic

from torch import Tensor

from concord.errors import amount
from concord.tasks.task import S
from concord.training.epoch import Epoch


@dataclass(frozen=True, eq=False)
class History(Generic[S]):
    """Every epoch of a training, and the scores of the weights that it ended with.

    ``test`` are scores of the test data (of the validation data if there are none, see ``notices``),
    ``valid`` of the validation data. ``predictions`` hold what the task keeps of them: for a classifier
    ``predictions["small"]["logits"]`` (N, K).
    """

    epochs: tuple[Epoch[S], ...]
    test: S
    valid: S | None
    seconds: float
    best_epoch: int  # from 1; the last one without early stopping
    predictions: Mapping[str, Mapping[str, Tensor]]
    notices: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.epochs)

    def __repr__(self) -> str:
        return f"History({amount(len(self.epochs), 'epoch')}, best {self.best_epoch}, {self.seconds:.1f} s)"

    def to_dict(self) -> dict[str, Any]:
        """Plain values: the epochs as lines of metrics.jsonl, and the final scores."""
        return {
            "epochs": [epoch.to_dict() for epoch in self.epochs],
            "test": self.test.to_dict(),
            "valid": None if self.valid is None else self.valid.to_dict(),
            "seconds": self.seconds,
            "best_epoch": self.best_epoch,
            "notices": list(self.notices),
        }

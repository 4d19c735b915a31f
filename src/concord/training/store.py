"""Where the state of a training is kept: nowhere but in memory, or, in the room of runs, in a run folder."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from torch import Tensor

from concord.errors import CheckpointError, amount
from concord.training.position import Position, step_name

Tensors = Mapping[str, Tensor]
Line = Mapping[str, Any]  # of metrics.jsonl


@dataclass(frozen=True)
class Saved:
    """The state of a training after ``index`` updates; later updates need nothing else.

    ``optimizer`` is None where its state starts over. ``without``: the parameters of which it remembers
    nothing, as ``member/parameter``; None where that is unknown. ``members`` are what the training stands
    for; where these are averages, ``raw`` are the weights that it continues with.
    """

    index: int
    position: Position
    members: Mapping[str, Tensors]
    optimizer: Tensors | None
    without: Collection[str] | None = None
    raw: Mapping[str, Tensors] = field(default_factory=dict)


class Store(Protocol):
    """Where a training keeps its state and the lines of its epochs."""

    def load(self) -> Saved | None: ...  # from which to continue; None: from the start
    def save(self, saved: Saved) -> None: ...
    def weights(self, step: str) -> Mapping[str, Tensors]: ...  # of the members, as saved under that name
    def append(self, line: Line) -> None: ...
    def lines(self) -> Sequence[Line]: ...
    def stopped(self, updates: int) -> str: ...  # the message of a training that was stopped


class Memory:
    """Nothing is written; the weights of the best epoch are kept if ``best`` asks for it."""

    def __init__(self, best: bool = False) -> None:
        self._best = best
        self._kept: Saved | None = None
        self._lines: list[Line] = []

    def load(self) -> Saved | None:
        return None

    def save(self, saved: Saved) -> None:
        if self._best and saved.position.best_step == step_name(saved.index):
            copies = {
                name: {key: tensor.detach().clone() for key, tensor in tensors.items()}
                for name, tensors in saved.members.items()
            }
            self._kept = replace(saved, members=copies)

    def weights(self, step: str) -> Mapping[str, Tensors]:
        if self._kept is None or step_name(self._kept.index) != step:
            raise CheckpointError(f"the weights of {step} were not kept")
        return self._kept.members

    def append(self, line: Line) -> None:
        self._lines.append(line)

    def lines(self) -> Sequence[Line]:
        return self._lines

    def stopped(self, updates: int) -> str:
        return f"stopped after {amount(updates, 'update')}; the members have the weights of that moment"

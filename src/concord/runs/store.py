"""A run folder as the store of a training: checkpoints, metrics.jsonl, exact resume."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from concord.errors import CheckpointError, amount
from concord.runs import weights
from concord.runs.changes import ANYWAY, adapted, differences, position_of, refuse
from concord.runs.config import Config
from concord.runs.folder import RunFolder
from concord.training import checkpoint
from concord.training.observer import Observer
from concord.training.position import step_name
from concord.training.state import check_optimizer
from concord.training.store import Line, Saved, Tensors

KEEP = 2  # newest checkpoints


@dataclass(frozen=True)
class RunStore:
    """The store of a run. ``tallied`` says how many numbers are summed up over an epoch of so many members.

    ``allow_changes``: continue although settings or data differ. ``strict``: CheckpointError if the newest
    checkpoint is damaged, where otherwise an earlier one is used.
    """

    folder: RunFolder
    config: Config
    members: Mapping[str, nn.Module]
    interface: Mapping[str, Any]  # what interface.json holds
    fingerprint: str  # of the data
    steps: int  # of an epoch
    tallied: Callable[[int], int]
    observer: Observer
    allow_changes: bool = False
    strict: bool = False
    otherwise: str = ANYWAY  # what else can be done about changed settings or data

    def load(self) -> Saved | None:
        """The newest sound checkpoint, or None; CheckpointError if it is of another run."""
        found, faults = checkpoint.newest(self.folder.checkpoints, self.strict)
        for fault in faults:
            self.observer.notice(f"{fault}; falling back to an earlier checkpoint")
        changes = differences(self.folder, found, self.config, self.fingerprint)
        if not self.allow_changes:
            refuse(found.path if found else self.folder.path, changes, self.otherwise)
        saved = None if found is None else self._taken(found, bool(changes))
        if saved is None:
            self.folder.cut(0)
        if changes:
            self._accept(changes, saved)
        elif self.folder.config().data.source != self.config.data.source or self._without_its_checkpoint():
            self.folder.reopen(self.config)
        return saved

    def _without_its_checkpoint(self) -> bool:
        """Whether there is a result that is damaged, or whose checkpoint is and so was set aside."""
        try:
            return self.folder.complete and not weights.standing(self.folder).is_dir()
        except CheckpointError:
            return True

    def _taken(self, found: checkpoint.Checkpoint, changed: bool) -> Saved:
        position = position_of(found, self.tallied)
        if changed:
            position = adapted(position, found.state, self.config, self.steps)
        weights.check(self.members, found)
        kind, before = self.config.train.optimizer.kind, found.state["config"]["train"]["optimizer"]["kind"]
        optimizer: Mapping[str, Tensor] | None = None
        if kind == before:
            optimizer = found.tensors["optimizer"]
            check_optimizer(self.members, optimizer)
        else:
            self.observer.notice(f"{kind} cannot use the moments of {before}: they start at 0")
        self.folder.cut(found.state["metrics_bytes"])
        checkpoint.set_aside(self.folder.checkpoints, found.path)
        index = position.epoch * self.steps + position.step
        return Saved(index, position, weights.tensors_of(found), optimizer)

    def _accept(self, changes: Sequence[str], saved: Saved | None) -> None:
        self.observer.notice("continuing with changes:\n" + "\n".join(f"  {change}" for change in changes))
        if saved is not None:  # other batches may mean other numbers of updates; only the newest counts
            self._commit(saved)
            checkpoint.set_aside(self.folder.checkpoints, self.folder.checkpoints / step_name(saved.index))
        self.folder.reopen(self.config)

    def save(self, saved: Saved) -> None:
        """Commit a checkpoint, and remove those that nobody needs any more."""
        self._commit(saved)
        checkpoint.prune(self.folder.checkpoints, KEEP, saved.position.best_step)

    def _commit(self, saved: Saved) -> None:
        tensors: dict[str, Tensors] = {
            f"{weights.MEMBER}{name}": state for name, state in saved.members.items()
        }
        tensors["optimizer"] = saved.optimizer or {}
        tensors["totals"] = saved.position.totals
        state = {
            "position": saved.position.plain(),
            "metrics_bytes": self.folder.logged(),
            "config": self.config.model_dump(mode="json"),
            "fingerprint": self.fingerprint,
            "interface": self.interface,
            "steps": self.steps,
        }
        checkpoint.save(self.folder.checkpoints, saved.index, tensors, state)

    def weights(self, step: str) -> Mapping[str, Tensors]:
        return weights.tensors_of(checkpoint.load(self.folder.checkpoints / step))

    def append(self, line: Line) -> None:
        self.folder.append(line)

    def lines(self) -> Sequence[Line]:
        return self.folder.rows()

    def stopped(self, updates: int) -> str:
        return f"stopped after {amount(updates, 'update')}, saved: {self.folder.resume} continues from here"

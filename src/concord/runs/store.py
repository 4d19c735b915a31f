"""A run folder as the store of a training: checkpoints, metrics.jsonl, exact resume."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from concord.errors import CheckpointError, amount
from concord.runs import stamp, weights
from concord.runs.changes import (
    ANYWAY,
    adapted,
    differences,
    log_fault,
    log_fits,
    position_of,
    refuse,
)
from concord.runs.config import Config
from concord.runs.cycles import ends_of_cycles
from concord.runs.folder import RunFolder
from concord.training import checkpoint, probe
from concord.training.moments import check_moments, without_moments
from concord.training.observer import Observer
from concord.training.position import step_name
from concord.training.state import check_optimizer, unpack_members
from concord.training.store import Line, Saved, Tensors

KEEP = 2  # newest checkpoints
NEEDED = ("epoch", "step", "seconds", "samples_per_second", "train", "valid", "test")  # of every line


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
        known = stamp.read(self.folder)
        checkpoint.sweep(self.folder.checkpoints)
        found, faults = checkpoint.newest(self.folder.checkpoints, self.strict)
        for fault in faults:
            self.observer.notice(f"{fault}; falling back to an earlier checkpoint")
        changes = differences(self.folder, found, self.config, self.fingerprint)
        if not self.allow_changes:
            refuse(found.path if found else self.folder.path, changes, self.otherwise)
        saved = None if found is None else self._taken(found, bool(changes))
        if found is not None and saved is not None:
            changes += self._answering_otherwise(found.path, saved)
        if saved is None:
            self.folder.cut(0)
        if changes:
            self._accept(changes, saved)
        elif self.folder.config().data.source != self.config.data.source or self._without_its_checkpoint():
            self.folder.reopen(self.config)
        if saved is not None:
            stamp.add_resume(self.folder, known, changes)
        return saved

    def _answering_otherwise(self, where: Path, saved: Saved) -> list[str]:
        """A sentence for each member that was built otherwise; CheckpointError unless that is allowed."""
        unpack_members(self.members, saved.members)
        faults = [probe.fault(name, member, saved.members[name]) for name, member in self.members.items()]
        found = [fault for fault in faults if fault is not None]
        if found and not self.allow_changes:
            raise CheckpointError(f"{where}: {'; '.join(found)}. If that is wanted, {self.otherwise}")
        return found

    def _without_its_checkpoint(self) -> bool:
        """Whether there is a result that is damaged, or whose checkpoint is and so was set aside."""
        try:
            place = weights.of_result(self.folder)
            return place is not None and not place.is_dir()
        except CheckpointError:
            return True

    def _taken(self, found: checkpoint.Checkpoint, changed: bool) -> Saved:
        position = position_of(found, self.tallied)
        if not changed and found.state["steps"] != self.steps:
            raise CheckpointError(
                f"{found.path}/state.json: epochs of {found.state['steps']} updates, here {self.steps}"
            )
        if changed:
            position = adapted(position, found.state, self.config, self.steps)
        weights.check(self.members, found)
        raw = weights.raw_of(self.members, found, changed)
        kind, before = self.config.train.optimizer.kind, found.state["config"]["train"]["optimizer"]["kind"]
        optimizer: Mapping[str, Tensor] | None = None
        without: Collection[str] | None = None
        if kind == before:
            optimizer = found.tensors["optimizer"]
            check_optimizer(self.members, optimizer)
            without = None if changed else found.state.get("without_moments")
            self._check_moments(found, without)
        else:
            self.observer.notice(f"{kind} cannot use the moments of {before}: they start at 0")
        self.folder.cut(found.state["metrics_bytes"])
        self._check_log(found)
        checkpoint.set_aside(self.folder.checkpoints, found.path)
        index = position.epoch * self.steps + position.step
        return Saved(index, position, weights.tensors_of(found), optimizer, without, raw)

    def _check_moments(self, found: checkpoint.Checkpoint, without: Collection[str] | None) -> None:
        before = found.state["config"]["train"]["optimizer"]
        kind = "without" if before["kind"] == "sgd" and not before.get("momentum") else before["kind"]
        earlier = found.state["position"].get("earlier")  # older versions did not count these
        most = None if earlier is None else checkpoint.number_of(found.path) + earlier
        where = str(found.path / "optimizer.safetensors")
        check_moments(self.members, found.tensors["optimizer"], kind, where, without, most)

    def _check_log(self, found: checkpoint.Checkpoint) -> None:
        """CheckpointError, or a notice with ``allow_changes``, if epochs are not as they were logged."""
        if log_fits(self.folder, found):
            return
        fault = log_fault(self.folder, found)
        if not self.allow_changes:
            raise CheckpointError(f"{fault}. Put it back, or {self.otherwise}")
        self.observer.notice(f"{fault}. It is accepted as it is")

    def _accept(self, changes: Sequence[str], saved: Saved | None) -> None:
        self.observer.notice("continuing with changes:\n" + "\n".join(f"  {change}" for change in changes))
        if saved is not None:  # other batches may mean other numbers of updates; only the newest counts
            self._commit(replace(saved, members={n: probe.without(t) for n, t in saved.members.items()}))
            checkpoint.set_aside(self.folder.checkpoints, self.folder.checkpoints / step_name(saved.index))
        self.folder.reopen(self.config)

    def save(self, saved: Saved) -> None:
        """Commit a checkpoint, and remove those that nobody needs any more."""
        self._commit(saved)
        besides = {saved.position.best_step, *ends_of_cycles(self.config, self.steps)}
        checkpoint.prune(self.folder.checkpoints, KEEP, besides)

    def _commit(self, saved: Saved) -> None:
        tensors: dict[str, Tensors] = {
            f"{checkpoint.MEMBER}{name}": state for name, state in saved.members.items()
        }
        tensors |= {f"{checkpoint.RAW}{name}": state for name, state in saved.raw.items()}
        tensors["optimizer"] = saved.optimizer or {}
        tensors["totals"] = saved.position.totals
        state = {
            "position": saved.position.plain(),
            "metrics_bytes": self.folder.logged(),
            "metrics_sha256": self.folder.log_digest(),
            "without_moments": without_moments(self.members, saved.optimizer or {}),
            "config": self.config.model_dump(mode="json"),
            "fingerprint": self.fingerprint,
            "interface": self.interface,
            "steps": self.steps,
        }
        checkpoint.save(self.folder.checkpoints, saved.index, tensors, state)

    def weights(self, step: str) -> Mapping[str, Tensors]:
        return weights.tensors_of(checkpoint.load(checkpoint.named(self.folder.checkpoints, step)))

    def append(self, line: Line) -> None:
        self.folder.append(line)

    def lines(self) -> Sequence[Line]:
        return self.folder.rows(NEEDED)

    def stopped(self, updates: int) -> str:
        return f"stopped after {amount(updates, 'update')}, saved: {self.folder.resume} continues from here"

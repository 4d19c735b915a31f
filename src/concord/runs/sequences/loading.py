"""A run on sequences with its members at the weights that it stands for."""

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from concord.consensus.names import ENSEMBLE
from concord.data.dataset import Tree
from concord.errors import CheckpointError, DivergedError
from concord.runs import stands
from concord.runs.config import Config
from concord.runs.folder import RunFolder
from concord.runs.sequences.interface import SequenceInterface, interface_of
from concord.runs.sequences.members import build_members
from concord.runs.sequences.run import resolved, task_of
from concord.runs.stands import stands_for
from concord.tasks.task import Task
from concord.training.checkpoint import Checkpoint
from concord.training.evaluate import outputs
from concord.training.observer import SILENT, Observer


@dataclass(frozen=True)
class LoadedSequences:
    """Members at their weights, and what goes in and comes out of them."""

    folder: RunFolder
    config: Config
    interface: SequenceInterface
    members: dict[str, nn.Module]
    found: Checkpoint
    result: dict[str, Any] | None  # of a complete run

    @property
    def task(self) -> Task[Any]:
        return task_of(self.interface)

    def chosen(self, member: str) -> dict[str, nn.Module]:
        """One member by name, or all of them for the ensemble."""
        return stands.chosen(self.members, member)

    def logits(self, x: Tree, member: str = ENSEMBLE) -> Tensor:
        """Mean of logits; DivergedError where they are no numbers. Shape: -> (B, K) or (B, T, K)"""
        found = torch.stack(outputs(self.chosen(member), x)).mean(0).cpu()
        if not found.isfinite().all():
            raise DivergedError(f"{self.found.path}: {member} does not give finite numbers for a sequence")
        return found


def load_run(
    path: Path,
    *,
    member: str = ENSEMBLE,
    allow_code: Collection[str] = (),
    device: str | None = None,
    strict: bool = False,
    observer: Observer = SILENT,
) -> LoadedSequences:
    """Members of a run at their final weights; CheckpointError if it is not a run or damaged.

    With the name of a ``member`` that member alone is built, so no permission is needed for other code.
    """
    stood = stands_for(path, member=member, device=device, strict=strict, observer=observer)
    config = resolved(stood.config)
    interface = interface_of(stood.folder, stood.found.state, observer.notice)
    if interface.task != config.train.task:
        raise CheckpointError(f"{path / 'interface.json'} is of the task {interface.task}")
    members = build_members(stood.needed(config, member), interface, allow_code, saved=stood.found)
    stood.fill(members)
    return LoadedSequences(stood.folder, config, interface, members, stood.found, stood.result)

"""A run of masks or boxes with its members at the weights that it stands for."""

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from concord.consensus.names import ENSEMBLE
from concord.errors import CheckpointError
from concord.runs import stands
from concord.runs.config import Config
from concord.runs.folder import RunFolder
from concord.runs.stands import stands_for
from concord.runs.vision.interface import VisionInterface, interface_of
from concord.runs.vision.members import build_members
from concord.runs.vision.run import resolved, task_of
from concord.tasks.task import Task, Tree
from concord.training.checkpoint import Checkpoint
from concord.training.evaluate import outputs
from concord.training.observer import SILENT, Observer


@dataclass(frozen=True)
class LoadedVision:
    """Members at their weights, and what goes in and comes out of them."""

    folder: RunFolder
    config: Config
    interface: VisionInterface
    members: dict[str, nn.Module]
    found: Checkpoint
    result: dict[str, Any] | None  # of a complete run

    @property
    def task(self) -> Task[Any]:
        return task_of(self.config, self.interface, self.members)

    def chosen(self, member: str) -> dict[str, nn.Module]:
        """One member by name, or all of them for the ensemble."""
        return stands.chosen(self.members, member)

    def combined(self, pixels: Tensor, member: str = ENSEMBLE) -> Tree:
        """What the task combines of the outputs for pictures (B, C, H, W) uint8."""
        return self.task.combine(outputs(self.chosen(member), self.interface.normalise(pixels)))


def load_run(
    path: Path,
    *,
    member: str = ENSEMBLE,
    allow_code: Collection[str] = (),
    device: str | None = None,
    strict: bool = False,
    observer: Observer = SILENT,
) -> LoadedVision:
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
    return LoadedVision(stood.folder, config, interface, members, stood.found, stood.result)

"""A finished or unfinished run, ready to predict."""

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from concord.cli import attend
from concord.cli.assemble import build_members, load_data
from concord.cli.interface import INTERFACE, Interface, check_same
from concord.cli.machine import PRECISIONS, resolved, settle
from concord.data.splits import Splits
from concord.errors import UsageError, suggestion
from concord.training.config import Config
from concord.training.evaluate import outputs
from concord.training.final import load_members, standing
from concord.training.folder import RunFolder

ENSEMBLE = "ensemble"


@dataclass(frozen=True)
class Loaded:
    """A run with its members at the weights of the checkpoint that it stands for."""

    folder: RunFolder
    config: Config
    interface: Interface
    members: dict[str, nn.Module]
    checkpoint: Path

    @property
    def precision(self) -> torch.dtype:
        return PRECISIONS[self.config.train.precision]

    def chosen(self, member: str) -> list[nn.Module]:
        """One member by name, or all of them for the ensemble."""
        if member == ENSEMBLE:
            return list(self.members.values())
        if member not in self.members:
            known = [*self.members, ENSEMBLE]
            raise UsageError(
                f"no member {member!r}{suggestion(member, known)}; there are: {', '.join(known)}"
            )
        return [self.members[member]]

    def probabilities(self, pixels: Tensor, member: str = ENSEMBLE) -> Tensor:
        """softmax of the mean of logits. Shape: uint8 (B, C, H, W) -> (B, K)"""
        x = self.interface.normalise(pixels.to(self.config.train.device))
        x = x.contiguous(memory_format=torch.channels_last)
        return torch.stack(outputs(self.chosen(member), x, self.precision)).mean(0).softmax(-1).cpu()


def load_run(path: Path, *, allow_code: Collection[str] = (), device: str | None = None) -> Loaded:
    """Members of a run at their final weights; CheckpointError if it is not a run or damaged.

    On another kind of machine than the run was trained on, precision and device are chosen anew.
    """
    folder = RunFolder(path)
    config = folder.config()
    wanted = device or ("auto" if _elsewhere(config) else config.train.device)
    update: dict[str, object] = {"device": wanted}
    if wanted != config.train.device:
        update["precision"] = "auto"
    config = resolved(config.model_copy(update={"train": config.train.model_copy(update=update)}))
    settle(config)
    interface = Interface.from_plain(folder.json("interface.json", INTERFACE))
    checkpoint = standing(folder, attend.tell)
    members = build_members(config, interface, allow_code)
    load_members(members, checkpoint)
    return Loaded(folder, config, interface, members, checkpoint)


def _elsewhere(config: Config) -> bool:
    return config.train.device.startswith("cuda") and not torch.cuda.is_available()


def same_data(run: Loaded, source: str | None) -> tuple[Splits, bool]:
    """The splits of the run, or of other data with the same classes; and whether they are those of the
    training.

    Raises DataError when the classes differ by name or the images by shape.
    """
    data = run.config.data if source is None else run.config.data.model_copy(update={"source": source})
    if source is not None and data.size is None and run.interface.shape[1] == run.interface.shape[2]:
        data = data.model_copy(update={"size": run.interface.shape[1]})
    splits = load_data(run.config.model_copy(update={"data": data}))
    check_same(run.interface, splits, data.source)
    saved = run.folder.json("result.json")["fingerprint"] if run.folder.complete else None
    return splits, saved in (None, splits.fingerprint)

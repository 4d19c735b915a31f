"""Which checkpoint a run of the command line stands for, whatever it is a run on."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from concord.consensus.names import ENSEMBLE, OWN
from concord.errors import CheckpointError, UsageError, suggestion
from concord.runs.config import Config
from concord.runs.folder import RunFolder
from concord.runs.weights import fill, standing
from concord.training import checkpoint
from concord.training.checkpoint import Checkpoint
from concord.training.observer import SILENT, Observer


def check_member(member: str, names: Iterable[str]) -> None:
    """UsageError, with the nearest name, for what is neither a member nor the ensemble."""
    known = [*names, ENSEMBLE]
    if member not in known:
        raise UsageError(f"no member {member!r}{suggestion(member, known)}; there are: {', '.join(known)}")


def chosen(members: dict[str, nn.Module], name: str) -> dict[str, nn.Module]:
    """One member by name, or all of them for the ensemble; UsageError for another name."""
    if name == ENSEMBLE:
        return members
    check_member(name, members)
    return {name: members[name]}


def own_modules(config: Config) -> list[str]:
    """Members whose networks were given in Python as objects: only that program can build them."""
    return [member.name for member in config.members if member.network.startswith(OWN)]


def refuse_own(folder: RunFolder, config: Config) -> None:
    """CheckpointError with what to do in Python, if a member is such a network."""
    own = own_modules(config)
    path = str(folder.path)
    if own:
        raise CheckpointError(
            f"{path} was made in Python of modules that your program alone builds ({', '.join(own)}). In your"
            f" program concord.load({path!r}, members={{...}}) evaluates and predicts, Ensemble.fit(...,"
            f" out={path!r}) continues it, and torch.onnx.export takes the modules themselves. For the verbs"
            " of the command line train members that are named as file.py:Name"
        )


@dataclass(frozen=True)
class Standing:
    """A run and the checkpoint that it stands for; its settings for one device, nothing resolved."""

    folder: RunFolder
    config: Config
    found: Checkpoint
    result: dict[str, Any] | None  # of a complete run

    def needed(self, config: Config, member: str) -> Config:
        """The settings with that member alone, or with all of them for the ensemble."""
        members = [each for each in config.members if member in (each.name, ENSEMBLE)]
        return config.model_copy(update={"members": members})

    def fill(self, members: dict[str, nn.Module]) -> None:
        """Give members the weights of the checkpoint, in evaluation mode."""
        fill(members, self.found)
        for member in members.values():
            member.eval()


def stands_for(
    path: Path,
    *,
    member: str = ENSEMBLE,
    device: str | None = None,
    strict: bool = False,
    observer: Observer = SILENT,
) -> Standing:
    """The checkpoint that a run stands for; CheckpointError if it is not a run of the command line."""
    folder = RunFolder(path)
    config = folder.config()
    refuse_own(folder, config)
    check_member(member, [known.name for known in config.members])
    result = folder.json("result.json", ["checkpoint"]) if folder.complete else None
    try:
        found = standing(folder, observer.notice, strict)
    except CheckpointError as error:
        if result is None:
            raise
        checkpoint.newest(folder.checkpoints)  # says so if none can be used
        raise CheckpointError(f"{error}\n{folder.resume} goes back to an earlier checkpoint") from None
    if not folder.complete:
        observer.notice(_unfinished(folder, found, config))
    return Standing(folder, _on_one_device(config, device), found, result)


def _on_one_device(config: Config, device: str | None) -> Config:
    """All members on that device, or on that of the training where this machine has it."""
    wanted = device or ("auto" if _elsewhere(config) else config.train.device)
    update: dict[str, object] = {"device": wanted}
    if wanted != config.train.device:
        update["precision"] = "auto"
    together = [each.model_copy(update={"device": None}) for each in config.members]
    train = config.train.model_copy(update=update)
    return config.model_copy(update={"train": train, "members": together})


def _unfinished(folder: RunFolder, found: Checkpoint, config: Config) -> str:
    done = found.state.get("position", {}).get("epoch", "?")
    return (
        f"{folder.path} is not finished: the weights are those after {done} of {config.train.epochs} epochs"
        f" ({found.path.name}); {folder.resume} continues it"
    )


def _elsewhere(config: Config) -> bool:
    return config.train.device.startswith("cuda") and not torch.cuda.is_available()

"""Weights of a checkpoint into members, and which checkpoint a run stands for."""

from collections.abc import Callable, Mapping
from pathlib import Path

from torch import Tensor, nn

from concord.errors import CheckpointError
from concord.runs.changes import differences, refuse
from concord.runs.folder import RunFolder
from concord.training import checkpoint
from concord.training.checkpoint import Checkpoint
from concord.training.state import check_members, unpack_members

MEMBER = "member-"  # before the name, in the files of a checkpoint


def tensors_of(found: Checkpoint) -> dict[str, Mapping[str, Tensor]]:
    """The state of every member that a checkpoint holds."""
    return {
        file.removeprefix(MEMBER): tensors
        for file, tensors in found.tensors.items()
        if file.startswith(MEMBER)
    }


def check(members: Mapping[str, nn.Module], found: Checkpoint) -> None:
    """CheckpointError if the checkpoint lacks a member or was made for another network."""
    networks = {m["name"]: m["network"] for m in found.state.get("config", {}).get("members", ())}
    check_members(members, tensors_of(found), str(found.path), networks)


def fill(members: Mapping[str, nn.Module], found: Checkpoint) -> None:
    """Copy the weights into the members, after ``check``; CheckpointError if one is not a finite number."""
    check(members, found)
    unpack_members(members, tensors_of(found))
    for name, member in members.items():
        if not all(parameter.isfinite().all() for parameter in member.parameters()):
            raise CheckpointError(
                f"{found.path}/{MEMBER}{name}.safetensors: damaged, its weights are not finite numbers"
            )


def finished(
    folder: RunFolder, warn: Callable[[str], None] = lambda text: None, strict: bool = False
) -> bool:
    """Whether a run is complete and what it stands for sound; CheckpointError if its settings changed.

    Where that checkpoint is damaged, ``warn`` is called, and a resume makes the result again from an earlier
    one; with ``strict``, or without an earlier one, that is a CheckpointError.
    """
    if not folder.complete:
        return False
    try:
        found = standing(folder)
    except CheckpointError as error:
        if strict or checkpoint.newest(folder.checkpoints)[0] is None:
            raise
        warn(f"{error}; its result is made again")
        return False
    refuse(found.path, differences(folder, found, folder.config(), found.state["fingerprint"]))
    return True


def of_result(folder: RunFolder) -> Path | None:
    """The checkpoint that the result of a complete run names; None of a run in progress."""
    if not folder.complete:
        return None
    return folder.checkpoints / str(folder.json("result.json", ["checkpoint"])["checkpoint"])


def standing(
    folder: RunFolder, warn: Callable[[str], None] = lambda text: None, strict: bool = False
) -> Checkpoint:
    """The checkpoint that a run stands for: that of its result, or the newest sound one so far.

    It is in memory, because a training in progress may remove it from the folder at any moment. ``warn`` is
    called for every newer one that is damaged; with ``strict`` that is a CheckpointError.
    """
    place = of_result(folder)
    if place is not None:
        return checkpoint.load(place)
    found, faults = checkpoint.newest(folder.checkpoints, strict)
    for fault in faults:
        warn(f"{fault}; an earlier checkpoint is used")
    if found is None:
        raise CheckpointError(f"{folder.path} has no checkpoint yet; {folder.resume} continues it")
    return found

"""Weights of a checkpoint into members, and which checkpoint a run stands for."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from torch import Tensor, nn

from concord.errors import CheckpointError
from concord.runs import seal
from concord.runs.changes import STATE, differences, refuse, refuse_edits
from concord.runs.folder import RunFolder
from concord.training import checkpoint, probe
from concord.training.checkpoint import MEMBER, RAW, Checkpoint
from concord.training.state import check_members, unpack_members
from concord.training.types import check_finite


def tensors_of(found: Checkpoint, kind: str = MEMBER) -> dict[str, Mapping[str, Tensor]]:
    """The state of every member that a checkpoint holds; with ``RAW`` that from which training continues."""
    return {
        file.removeprefix(kind): tensors for file, tensors in found.tensors.items() if file.startswith(kind)
    }


def check(members: Mapping[str, nn.Module], found: Checkpoint) -> None:
    """CheckpointError if the checkpoint lacks a member or was made for another network."""
    networks = {m["name"]: m["network"] for m in found.state.get("config", {}).get("members", ())}
    saved = tensors_of(found)
    check_members(members, saved, str(found.path), networks)
    for name, member in members.items():
        check_finite(member, saved[name], f"{found.path}: member {name!r}")


def raw_of(
    members: Mapping[str, nn.Module], found: Checkpoint, changed: bool
) -> dict[str, Mapping[str, Tensor]]:
    """The weights that training continues with, of the members whose averages a checkpoint holds.

    CheckpointError if they are of another network, or one that learns has none under unchanged settings.
    """
    raw = tensors_of(found, RAW)
    averaged = bool(found.state["config"]["train"].get("ema")) and not changed
    learning = {name for name, member in members.items() if any(p.requires_grad for p in member.parameters())}
    needed = {
        name: member for name, member in members.items() if name in raw or (averaged and name in learning)
    }
    check_members(needed, raw, f"{found.path}, where members are averages, {RAW}*.safetensors")
    for name, member in needed.items():
        check_finite(member, raw[name], f"{found.path}/{RAW}{name}.safetensors")
    return raw


def fill(members: Mapping[str, nn.Module], found: Checkpoint) -> None:
    """Copy the weights into the members, after ``check``.

    CheckpointError if one is not a finite number, or a member answers otherwise than when it was saved.
    """
    check(members, found)
    unpack_members(members, tensors_of(found))
    for name, member in members.items():
        if not all(parameter.isfinite().all() for parameter in member.parameters()):
            raise CheckpointError(
                f"{found.path}/{MEMBER}{name}.safetensors: damaged, its weights are not finite numbers"
            )
        probe.check(name, member, tensors_of(found)[name], found.path)


def finished(
    folder: RunFolder, warn: Callable[[str], None] = lambda text: None, strict: bool = False
) -> bool:
    """Whether a run is complete and what it stands for sound; CheckpointError if its settings changed.

    Where that checkpoint is damaged, ``warn`` is called, and a resume makes the result again from an earlier
    one; with ``strict``, or without an earlier one, that is a CheckpointError.
    """
    try:
        place = of_result(folder)
        if place is None:
            return False
        found = checkpoint.load(place)
    except CheckpointError as error:
        if strict or checkpoint.newest(folder.checkpoints)[0] is None:
            raise
        warn(f"{error}; its result is made again")
        return False
    seal.check_weights(folder.path, found.path, folder.resume)
    if not found.state.keys() >= STATE:
        raise CheckpointError(f"{found.path}: not the checkpoint of a training of this concord")
    config = replace(folder, sealed=False).config()  # what was changed in it is listed
    refuse(found.path, differences(folder, found, config, found.state["fingerprint"]))
    return _whole(folder, warn, strict)


def _whole(folder: RunFolder, warn: Callable[[str], None], strict: bool) -> bool:
    """Whether all that a complete run shows is as it ended; False where a resume can make it again."""
    broken = seal.broken(folder.path, folder.resume)
    for name, fault in broken.items():
        if strict or name not in seal.REMADE:
            raise CheckpointError(fault)
        warn(f"{fault}; it is made again")
    return not broken


def load(folder: RunFolder, path: Path) -> Checkpoint:
    """A verified checkpoint of a run; of a complete one with the weights that its result was made with."""
    found = checkpoint.load(path)
    if folder.sealed:
        seal.check_weights(folder.path, path, folder.resume)
    return found


def of_result(folder: RunFolder) -> Path | None:
    """The checkpoint that the result of a complete run names; None of a run in progress."""
    if not folder.complete:
        return None
    name = folder.json("result.json", ["checkpoint"])["checkpoint"]
    try:
        return checkpoint.named(folder.checkpoints, name)
    except CheckpointError as error:
        raise CheckpointError(f"{folder.path / 'result.json'}: {error}") from None


def standing(
    folder: RunFolder, warn: Callable[[str], None] = lambda text: None, strict: bool = False
) -> Checkpoint:
    """The checkpoint that a run stands for: that of its result, or the newest sound one so far.

    It is in memory, because a training in progress may remove it from the folder at any moment. ``warn`` is
    called for every newer one that is damaged; with ``strict`` that is a CheckpointError. So are settings and
    epochs of a run in progress that are not as the checkpoint has them.
    """
    place = of_result(folder)
    if place is not None:
        return load(folder, place)
    found, faults = checkpoint.newest(folder.checkpoints, strict)
    for fault in faults:
        warn(f"{fault}; an earlier checkpoint is used")
    if found is None:
        raise CheckpointError(f"{folder.path} has no checkpoint yet; {folder.resume} continues it")
    refuse_edits(folder, found)
    return found

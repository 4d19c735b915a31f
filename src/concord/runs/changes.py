"""What is different between a run and the job that goes on with it, and what follows from it."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from concord.errors import CheckpointError, UsageError, amount
from concord.runs import toml
from concord.runs.config import Config
from concord.runs.folder import RunFolder
from concord.runs.plan import uneven
from concord.training.checkpoint import Checkpoint, number_of
from concord.training.position import Position
from concord.training.saved_position import Frame, read_position

NO_DIFFERENCE = ("data.source: ", "data.keep: ", "data.workers: ")  # the samples are the same
STATE = {"position", "metrics_bytes", "config", "fingerprint", "steps"}
RETIREMENT = ".retired: False -> True"
TENSORS = {"optimizer", "totals"}


def position_of(found: Checkpoint, tallied: Callable[[int], int]) -> Position:
    """The position that a checkpoint holds; CheckpointError if it is not that of a training.

    ``tallied`` says how many numbers this version sums up over an epoch of so many members.
    """
    strange = f"{found.path}: not the checkpoint of a training of this concord"
    if not (found.state.keys() >= STATE and found.tensors.keys() >= TENSORS):
        raise CheckpointError(strange)
    config, totals = found.state["config"], found.tensors["totals"]
    members, train = len(config["members"]), config["train"]
    if totals and (tally := totals.get("tally")) is not None and tally.numel() != tallied(members):
        raise CheckpointError(
            f"{found.path} holds the sums of an epoch that another version of concord began: finish the epoch"
            " with that version, or remove this folder to continue from the checkpoint before it"
        )
    frame = Frame(
        number_of(found.path), found.state["steps"], train.get("epochs", 0), train.get("patience"), members
    )
    try:
        return read_position(found.state["position"], totals, frame)
    except (TypeError, ValueError) as error:
        raise CheckpointError(f"{strange} (state.json or totals.safetensors: {error})") from None


def differences(folder: RunFolder, found: Checkpoint | None, config: Config, fingerprint: str) -> list[str]:
    """``key: old -> new`` for every setting, and for the data, that is not what the run was made with.

    Where the same data lies now, and how it gets from there into batches, makes no difference.
    """
    old = found.state if found else {}
    settings = _known(old["config"]) if "config" in old else folder.config().model_dump(mode="json")
    listed = toml.differences(_by_name(settings), _by_name(config.model_dump(mode="json")))
    if found and "interface" not in old and uneven(config):  # of a version that had other edges for KDCL
        listed.append("the weight of a KDCL target: as many as there are edges to a member -> 1")
    before = old.get("fingerprint") or _stamped(folder)
    if before == fingerprint:
        return [change for change in listed if not change.startswith(NO_DIFFERENCE)]
    return listed if before is None else [*listed, f"data: {before[:12]}... -> {fingerprint[:12]}..."]


def _stamped(folder: RunFolder) -> str | None:
    """Fingerprint of the data that the run was begun with, if anybody knows."""
    try:
        return folder.json("stamp.json").get("fingerprint")
    except CheckpointError:
        return None


def _known(settings: dict[str, Any]) -> dict[str, Any]:
    """Settings as this version writes them: what an older one did not have stands at its default."""
    try:
        return toml.parse(settings).model_dump(mode="json")
    except UsageError:  # then the difference is told
        return settings


def _by_name(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Members under their names, so that a difference tells whose it is; their order is part of a run too."""
    members = settings["members"]
    order = {"order of members": [member["name"] for member in members]}
    return {**settings, "members": {member["name"]: member for member in members}, **order}


ANYWAY = "give --allow-changes to continue all the same"


def refuse(where: object, changes: list[str], otherwise: str = ANYWAY) -> None:
    """CheckpointError that lists the changes, if there are any but the retirement of a member."""
    changes = [change for change in changes if not change.endswith(RETIREMENT)]
    if changes:
        listed = "\n".join(f"  {change}" for change in changes)
        raise CheckpointError(
            f"{where} was made with another configuration or other data:\n{listed}\n"
            f"Undo the change, or {otherwise}"
        )


def adapted(position: Position, before: Mapping[str, Any], config: Config, steps: int) -> Position:
    """Where a run goes on under changed settings; CheckpointError if they leave nothing to do.

    With another number of steps per epoch the epoch in progress starts again, and earlier validation errors
    no longer count.
    """
    epochs, patience = config.train.epochs, config.train.patience
    names = [member["name"] for member in before["config"]["members"]]
    if names != [member.name for member in config.members]:
        raise CheckpointError(f"the members of a run cannot be changed; it has {', '.join(names)}")
    if before["steps"] != steps:
        position = Position(position.epoch, 0, position.seconds)
    if position.epoch >= epochs:
        raise CheckpointError(
            f"the run has {amount(position.epoch, 'epoch')} already; train.epochs must be larger"
        )
    if patience is not None and position.stale >= patience:
        raise CheckpointError(
            f"the run stopped after {amount(position.stale, 'epoch')} without a better validation error;"
            " train.patience must be larger"
        )
    return replace(position, finished=False)

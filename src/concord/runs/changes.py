"""What is different between a run and the job that goes on with it, and what follows from it."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from concord.errors import CheckpointError, UsageError, amount
from concord.runs import stamp, toml
from concord.runs.config import Config
from concord.runs.folder import RunFolder
from concord.runs.plan import uneven
from concord.training.checkpoint import Checkpoint, number_of
from concord.training.position import Position
from concord.training.saved_position import Frame, read_position

# the samples are the same
NO_DIFFERENCE = ("data.source: ", "data.keep: ", "data.workers: ", "data.largest_image: ")
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
    """Fingerprint of the data that the run was begun with, if that is known."""
    found = stamp.read(folder).get("fingerprint")
    return found if isinstance(found, str) else None


def refuse_edits(folder: RunFolder, found: Checkpoint) -> None:
    """CheckpointError if settings or epochs of a run in progress are not as its checkpoint has them."""
    otherwise = f"continue with the files as they are: {folder.resume} with --allow-changes"
    if changes := edited(folder, found):
        listed = "\n".join(f"  {change}" for change in changes)
        raise CheckpointError(
            f"{folder.path / 'config.toml'}: edited since the checkpoint {found.path.name} was made:\n"
            f"{listed}\nUndo the change, or {otherwise}"
        )
    if not log_fits(folder, found):
        raise CheckpointError(f"{log_fault(folder, found)}. Put it back, or {otherwise}")


def edited(folder: RunFolder, found: Checkpoint) -> list[str]:
    """``key: old -> new`` for every setting in config.toml that is not what the checkpoint was made with."""
    if "config" not in found.state:
        return []
    fingerprint = found.state.get("fingerprint") or _stamped(folder) or ""
    return differences(folder, found, folder.config(), fingerprint)


def log_fits(folder: RunFolder, found: Checkpoint) -> bool:
    """Whether the epochs up to a checkpoint are as they were logged, as far as it knows."""
    before = found.state.get("metrics_sha256")
    return before is None or before == folder.log_digest(found.state.get("metrics_bytes"))


def log_fault(folder: RunFolder, found: Checkpoint) -> str:
    return f"{folder.metrics}: damaged or edited since the checkpoint {found.path.name} was made"


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
        done = position.epoch * before["steps"] + position.step + position.earlier
        earlier = max(0, done - position.epoch * steps)
        position = Position(position.epoch, 0, position.seconds, earlier=earlier)
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

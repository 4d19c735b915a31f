"""From run folders to a model card; ``concord report RUN --to MODEL_CARD.md``."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from concord.cli import attend
from concord.cli.interface import INTERFACE, Interface
from concord.errors import CheckpointError, UsageError
from concord.report.card import Card, model_card
from concord.report.records import MemberView, RunView
from concord.training import toml, votes
from concord.training.folder import RunFolder

FGSM = "attack/fgsm/attack.json"  # where `concord attack RUN` leaves its figures
SEEDS = ("train.seed", "data.seed", "data.source")  # may differ between trainings of one card


def card_text(runs: Sequence[Path]) -> str:
    """The card of the first run; the others are the same training with other seeds.

    Raises UsageError if they are not, CheckpointError for a run that is not complete or is damaged.
    """
    first, *others = [RunFolder(path) for path in runs]
    for other in others:
        _check_same_training(first, other)
    result = first.json("result.json", ["members", "ensemble", "checkpoint", "fingerprint"])
    interface = Interface.from_plain(first.json("interface.json", INTERFACE))
    card = Card(
        _view(first, result),
        interface.shape,
        interface.classes,
        samples=_test_samples(first),
        bytes=_bytes(first, result),
        others=tuple(other.json("result.json", ["members", "ensemble"]) for other in others),
        fgsm=_fgsm(first, result),
    )
    return model_card(card)


def _check_same_training(first: RunFolder, other: RunFolder) -> None:
    before, after = first.config().model_dump(mode="json"), other.config().model_dump(mode="json")
    changes = [c for c in toml.differences(before, after) if not c.startswith(tuple(f"{s}: " for s in SEEDS))]
    if changes:
        listed = "\n".join(f"  {change}" for change in changes)
        raise UsageError(
            f"a model card is about one training, repeated with other seeds; {other.path} differs from"
            f" {first.path}:\n{listed}\nWrite a card for each, or an HTML report of all: --to report.html"
        )


def _view(folder: RunFolder, result: Mapping[str, Any]) -> RunView:
    """The run without its test set; of paths only the last part, because a card is for others to read."""
    config = folder.config().model_dump(mode="json", exclude_none=True)
    config["data"]["source"] = Path(config["data"]["source"]).name
    members = tuple(
        MemberView(
            member["name"],
            member["network"],
            result["members"][member["name"]]["parameters"],
            result["members"][member["name"]]["macs"],
        )
        for member in config["members"]
    )
    stamp = folder.json("stamp.json", ["versions", "device", "started"])
    return RunView(folder.path.resolve().name, config, stamp, result, folder.rows(), members)


def _test_samples(folder: RunFolder) -> int:
    said = votes.read(folder)
    if not said:
        raise CheckpointError(
            f"{folder.path / votes.FILE} is missing, which says how many test images there are: remove"
            f" result.json there, and {folder.resume} makes both anew"
        )
    return len(said[votes.ENSEMBLE])


def _bytes(folder: RunFolder, result: Mapping[str, Any]) -> dict[str, int]:
    """Sizes of the members' weights as they lie in the checkpoint that the run stands for."""
    checkpoint = folder.checkpoints / str(result["checkpoint"])
    files = {name: checkpoint / f"member-{name}.safetensors" for name in result["members"]}
    lacking = [str(file) for file in files.values() if not file.is_file()]
    if lacking:
        raise CheckpointError(f"{lacking[0]} is missing; {folder.resume} goes back to an earlier checkpoint")
    return {name: file.stat().st_size for name, file in files.items()}


def _fgsm(folder: RunFolder, result: Mapping[str, Any]) -> dict[str, Any] | None:
    """The figures of ``concord attack`` if they are of this run alone and of the weights it stands for."""
    file = folder.path / FGSM
    if not file.is_file():
        return None
    found = folder.json(FGSM, ["runs", "eps", "samples", "networks", "notices"])
    if len(found["runs"]) == 1 and found.get("checkpoints") == [result["checkpoint"]]:
        return found
    attend.tell(f"{file} is of other runs or of other weights; the card goes without it: attack anew")
    return None

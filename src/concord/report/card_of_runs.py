"""From run folders to a model card; ``concord report RUN --to MODEL_CARD.md``."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, Field, ValidationError

from concord.consensus.names import ENSEMBLE
from concord.errors import CheckpointError, UsageError
from concord.files.documents import DIGEST
from concord.report.card import Card, model_card
from concord.report.records import MemberView, RunView
from concord.runs import predictions, seal, stamp, toml
from concord.runs.folder import RunFolder
from concord.runs.interface import interface_of
from concord.runs.stands import refuse_own
from concord.runs.task_kinds import refuse_other
from concord.runs.weights import standing
from concord.training.checkpoint import Checkpoint
from concord.training.observer import SILENT, Observer

FGSM = "attack/fgsm/attack.json"  # where `concord attack RUN` leaves its figures
# keys of [train] in which trainings of one card may differ: the seed, and what no score depends on
MAY_DIFFER = ("seed", "threads", "device", "checkpoint_seconds", "test")
Share = Annotated[float, Field(ge=0, le=1)]


class _Scores(BaseModel):
    test_error: Share
    nll: float | None
    ece: float | None


class _MemberScores(_Scores):
    parameters: int
    macs: int


class _Result(BaseModel):
    """What a card reads of result.json."""

    members: dict[str, _MemberScores]
    ensemble: _Scores
    epochs: int
    checkpoint: str
    fingerprint: str
    notices: list[str]


class _Stamp(BaseModel):
    """What a card reads of stamp.json."""

    versions: dict[str, str]
    device: str
    started: str


class _Rate(BaseModel):
    share: Share


class _Point(BaseModel):
    error: _Rate


class _Attacked(BaseModel):
    clean_error: _Rate
    points: list[_Point]


class _Attack(BaseModel):
    """What a card reads of attack.json."""

    runs: list[str]
    checkpoints: list[str]
    weights: list[str]
    own_test: bool
    eps: list[float]
    samples: int
    networks: dict[str, _Attacked]
    notices: list[str]


def card_text(runs: Sequence[Path], observer: Observer = SILENT) -> str:
    """The card of the first run; the others are the same training with other seeds.

    Raises UsageError if they are not, CheckpointError for a run that is not complete or is damaged.
    """
    first, *others = [RunFolder(path) for path in runs]
    refuse_own(first, first.config())
    refuse_other(first.path, first.config().train.task)
    results = [_result(folder) for folder in (first, *others)]
    _check_same_training((first, *others), results)
    found = standing(first)  # verified, so that the sizes are those of whole files
    interface = interface_of(first, found.state, observer.notice)
    files = {name: found.path / f"member-{name}.safetensors" for name in results[0].members}
    card = Card(
        _view(first, results[0], observer),
        interface.shape,
        interface.classes,
        samples=_test_samples(first),
        weight_bytes={name: file.stat().st_size for name, file in files.items()},
        others=tuple(result.model_dump() for result in results[1:]),
        fgsm=_fgsm(first, found, observer),
    )
    return model_card(card)


def _result(folder: RunFolder) -> _Result:
    try:
        result = _Result.model_validate(folder.json("result.json"))
    except ValidationError as error:
        raise CheckpointError(f"{folder.path / 'result.json'}: damaged ({_first(error)})") from None
    if result.members.keys() != {member.name for member in folder.config().members}:
        raise CheckpointError(f"{folder.path / 'result.json'}: damaged, its members are not those of the run")
    return result


def _first(error: ValidationError) -> str:
    fault = error.errors()[0]
    return f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}"


def _check_same_training(folders: Sequence[RunFolder], results: Sequence[_Result]) -> None:
    """UsageError unless all had one recipe and one set of data, and each a seed of its own."""
    first = folders[0]
    seeds = [folder.config().train.seed for folder in folders]
    for folder, result, seed in list(zip(folders, results, seeds, strict=True))[1:]:
        changes = toml.differences(_recipe(first), _recipe(folder))
        if result.fingerprint != results[0].fingerprint:
            changes.append("other data, or another split of them")
        if changes:
            raise UsageError(
                f"a model card describes one training, repeated with other seeds; {folder.path} differs from"
                f" {first.path}: {'; '.join(changes)}. Write a card for each, or an HTML report of all"
            )
        if seeds.count(seed) > 1:
            raise UsageError(f"{folder.path} has the seed of another run ({seed}); every seed counts once")


def _recipe(folder: RunFolder) -> dict[str, Any]:
    """The settings that scores depend on; where things lie, and on what machine, is no part of it."""
    settings = folder.config().model_dump(mode="json")
    settings["data"].pop("source")
    for key in MAY_DIFFER:
        settings["train"].pop(key)
    for member in settings["members"]:
        del member["device"]
        member["teacher"] = member["teacher"] is not None
    return {**settings, "members": {member["name"]: member for member in settings["members"]}}


def _view(folder: RunFolder, result: _Result, observer: Observer) -> RunView:
    """The run without its test set; of paths only the last part, because a card is for others to read."""
    config = folder.config().model_dump(mode="json", exclude_none=True)
    source = config["data"]["source"]
    named = _last_part(source)
    config["data"]["source"] = named
    for member in config["members"]:
        if "teacher" in member:
            member["teacher"] = _last_part(member["teacher"])
    if "unlabelled" in config:
        config["unlabelled"]["source"] = _last_part(config["unlabelled"]["source"])
    members = tuple(
        MemberView(m["name"], m["network"], scores.parameters, scores.macs)
        for m in config["members"]
        for scores in [result.members[m["name"]]]
    )
    notices = [_without_path(text, source) for text in result.notices]
    plain = {**result.model_dump(), "notices": notices}
    return RunView(
        folder.path.resolve().name,
        config,
        _stamp(folder, observer),
        plain,
        (),
        members,
        samples=_test_samples(folder),
    )


def _without_path(text: str, source: str) -> str:
    for path in (str(Path(source).resolve()), source):
        text = text.replace(path, _last_part(source)) if "/" in path else text
    return text


def _last_part(path: str) -> str:
    return Path(path).resolve().name or "images"


def _stamp(folder: RunFolder, observer: Observer) -> dict[str, Any]:
    try:
        return _Stamp.model_validate(stamp.read(folder)).model_dump()
    except ValidationError:
        observer.notice(
            f"{folder.path / stamp.FILE} is missing or of an older version; the card leaves out the versions"
            " and the date of the run"
        )
        return {}


def _test_samples(folder: RunFolder) -> int:
    predicted = predictions.votes(folder).get(ENSEMBLE, ())
    if not len(predicted):
        raise CheckpointError(
            f"{folder.path / predictions.FILE} is missing or empty, so the number of test images is unknown:"
            f" remove result.json from the folder, then {folder.resume} writes both files again"
        )
    return len(predicted)


def _fgsm(folder: RunFolder, weights: Checkpoint, observer: Observer) -> dict[str, Any] | None:
    """Figures of ``concord attack`` if they are of this run alone, of these weights, on its test images.

    CheckpointError if they were edited.
    """
    file = folder.path / FGSM
    if not os.path.lexists(file):
        return None
    try:
        found = _Attack.model_validate(folder.json(FGSM, [DIGEST] if seal.there(folder.path) else []))
    except CheckpointError as error:
        raise CheckpointError(f"{error}. Run the attack again, or remove the file") from None
    except ValidationError:
        observer.notice(f"{file} is of an older version; the card leaves it out. Run the attack again")
        return None
    own = (found.checkpoints, found.weights) == ([weights.path.name], [weights.weights])
    if len(found.runs) == 1 and own and found.own_test:
        return found.model_dump()
    observer.notice(
        f"{file} is of other runs, weights or images; the card leaves it out. Run the attack again"
    )
    return None

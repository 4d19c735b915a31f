"""From run folders to what a report is made of."""

from collections.abc import Collection, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from concord.consensus.names import ENSEMBLE
from concord.cost.record import Priced
from concord.errors import CheckpointError, DataError
from concord.report.records import DataView, Held, MemberView, RunView
from concord.runs import corruptions, predictions, stamp
from concord.runs.assemble import costs
from concord.runs.config import Config
from concord.runs.folder import RunFolder
from concord.runs.loading import Loaded, load_run, same_data
from concord.runs.machine import settled
from concord.runs.stands import own_modules
from concord.runs.tested import logits_on_test
from concord.runs.uncertainty import uncertainty_of
from concord.runs.weights import standing
from concord.training import checkpoint
from concord.training.observer import SILENT, Observer

if TYPE_CHECKING:
    from torch import Tensor


def run_view(
    path: Path, data: str | None = None, allow_code: Collection[str] = (), observer: Observer = SILENT
) -> RunView:
    """A run with its test set and what its members predict there; without them if the data cannot be read."""
    config = RunFolder(path).config()
    if own_modules(config):
        return _own_view(RunFolder(path), config, data, observer)
    loaded = load_run(path, allow_code=allow_code, observer=observer)
    held, seen = None, None
    try:
        held, seen = _held(loaded, data, observer)
    except DataError as error:
        observer.notice(f"{error}; the report leaves out what needs the test images")
    spent = costs(loaded.members, loaded.interface.shape)
    kept = None if held else _kept_samples(loaded.folder, observer)
    members = tuple(
        MemberView(
            described.name,
            described.network,
            spent[described.name].parameters,
            spent[described.name].macs,
            first_filters(loaded.members[described.name]),
            Priced(described.name, (loaded.interface.shape,), spent[described.name]),
        )
        for described in loaded.config.members
    )
    return RunView(
        name=path.name,
        config=loaded.config.model_dump(mode="json", exclude_none=True),
        stamp=_stamp(loaded.folder, observer),
        result=loaded.result or {},
        metrics=loaded.rows(),
        members=members,
        held=held,
        samples=len(held.labels) if held else kept,
        data=seen,
        uncertainty=uncertainty_of(loaded.folder, loaded.result),
        corruptions=corruptions.read(loaded.folder, loaded.weights, observer),
    )


def _kept_samples(folder: RunFolder, observer: Observer) -> int | None:
    """Samples of the test set, as the kept predictions count them; None if none can be read."""
    try:
        return len(predictions.votes(folder).get(ENSEMBLE, ())) or None
    except CheckpointError as error:
        observer.notice(str(error))
        return None


def _own_view(folder: RunFolder, config: Config, data: str | None, observer: Observer) -> RunView:
    """The view of a run of a Python user's modules: of what the run kept, without networks and samples."""
    if data is not None:
        observer.notice(
            f"{folder.path} has modules of your own: --data is ignored, its kept predictions are used"
        )
    result, held = folder.json("result.json") if folder.complete else {}, _kept(folder, config)
    spent = result.get("members", {})
    members = tuple(
        MemberView(
            member.name,
            member.network,
            spent.get(member.name, {}).get("parameters"),
            spent.get(member.name, {}).get("macs"),
        )
        for member in config.members
    )
    return RunView(
        name=folder.path.name,
        config=config.model_dump(mode="json", exclude_none=True),
        stamp=_stamp(folder, observer),
        result=result,
        metrics=folder.rows(size=_logged(folder)),
        members=members,
        held=held,
        samples=len(held.labels) if held else None,
        uncertainty=uncertainty_of(folder, result or None),
    )


def _logged(folder: RunFolder) -> int | None:
    """Bytes of metrics.jsonl that the newest checkpoint of a run in progress holds; None: all."""
    if folder.complete:
        return None
    return standing(folder).state.get("metrics_bytes") if checkpoint.steps(folder.checkpoints) else 0


def _kept(folder: RunFolder, config: Config) -> Held | None:
    """The predictions that a complete run kept; None without them."""
    kept = predictions.read(folder) if folder.complete else None
    if kept is None:
        return None
    names = [f"sample {i}" for i in range(len(kept.labels))]
    classes = tuple(map(str, folder.json("interface.json", ["classes"])["classes"] or ()))
    if not kept.logits.keys() >= {member.name for member in config.members}:
        raise CheckpointError(f"{folder.path / predictions.FILE}: damaged, a member of the run is missing")
    logits = torch.stack([kept.logits[member.name] for member in config.members])
    return Held(None, kept.labels, names, classes, logits)


def _stamp(folder: RunFolder, observer: Observer) -> dict[str, Any]:
    found = stamp.read(folder)
    if not found:
        file = folder.path / stamp.FILE
        observer.notice(f"{file} is missing; the report leaves out where the run was made")
    return found


def _held(loaded: Loaded, data: str | None, observer: Observer) -> tuple[Held, DataView]:
    splits, same = same_data(loaded, data, observer)
    if not same:
        observer.notice(f"{loaded.folder.path}: the data has changed since the run was trained")
    with settled(loaded.config):
        found = logits_on_test(loaded, splits, same=same, observer=observer)
    predicted = torch.stack([found[name] for name in loaded.members])
    test = splits.test
    held = Held(test.pixels, test.labels, test.names, test.classes, predicted)
    parts = {"train": splits.train, "valid": splits.valid, "test": test}
    counts = {
        name: part.labels.bincount(minlength=len(test.classes)).tolist() for name, part in parts.items()
    }
    return held, DataView(test.classes, counts, tuple(splits.notices))


def first_filters(network: nn.Module) -> "Tensor | None":
    """Weights of the first convolution. Shape: (N, C, k, k)"""
    kernels: Iterable[nn.Conv2d] = (m for m in network.modules() if isinstance(m, nn.Conv2d))
    first = next(iter(kernels), None)
    return None if first is None else first.weight.detach().to("cpu", torch.float32)

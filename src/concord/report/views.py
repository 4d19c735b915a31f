"""From run folders to what a report is made of."""

from collections.abc import Collection, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from concord.cost.record import Priced
from concord.errors import CheckpointError, DataError
from concord.report.records import Held, MemberView, RunView
from concord.runs.assemble import costs
from concord.runs.feeds import make_feed
from concord.runs.loading import Loaded, load_run, same_data
from concord.runs.machine import settled
from concord.tasks.classify import Classify
from concord.training.evaluate import evaluate
from concord.training.observer import SILENT, Observer

if TYPE_CHECKING:
    from torch import Tensor


def run_view(
    path: Path, data: str | None = None, allow_code: Collection[str] = (), observer: Observer = SILENT
) -> RunView:
    """A run with its test set and what its members say about it; without them if the data cannot be read."""
    loaded = load_run(path, allow_code=allow_code, observer=observer)
    held = None
    try:
        held = _held(loaded, data, observer)
    except DataError as error:
        observer.notice(f"{error}; the report goes without what needs the test images")
    spent = costs(loaded.members, loaded.interface.shape)
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
        stamp=_stamp(loaded, observer),
        result=loaded.folder.json("result.json") if loaded.folder.complete else {},
        metrics=loaded.folder.rows(),
        members=members,
        held=held,
    )


def _stamp(loaded: Loaded, observer: Observer) -> dict[str, Any]:
    try:
        return loaded.folder.json("stamp.json")
    except CheckpointError as error:
        observer.notice(f"{error}; the report does not say where the run was made")
        return {}


def _held(loaded: Loaded, data: str | None, observer: Observer) -> Held:
    splits, same = same_data(loaded, data, observer)
    if not same:
        observer.notice(f"{loaded.folder.path}: the data has changed since the run was trained")
    feed = make_feed(loaded.config, splits, loaded.interface)
    with settled(loaded.config):
        task = Classify(len(loaded.interface.classes))
        found = evaluate(loaded.members, feed.test(), task, keep=True).predictions
    said = torch.stack([found[name]["logits"] for name in loaded.members])
    test = splits.test
    return Held(test.pixels, test.labels, test.names, test.classes, said)


def first_filters(network: nn.Module) -> "Tensor | None":
    """Weights of the first convolution. Shape: (N, C, k, k)"""
    kernels: Iterable[nn.Conv2d] = (m for m in network.modules() if isinstance(m, nn.Conv2d))
    first = next(iter(kernels), None)
    return None if first is None else first.weight.detach().to("cpu", torch.float32)

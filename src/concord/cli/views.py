"""From run folders to what a report is made of."""

from collections.abc import Collection, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from concord.cli import attend
from concord.cli.assemble import costs
from concord.cli.feeds import make_feed
from concord.cli.loading import Loaded, load_run, same_data
from concord.errors import CheckpointError, DataError
from concord.report.cost_tables import Priced
from concord.report.records import Held, MemberView, RunView
from concord.training.evaluate import logits

if TYPE_CHECKING:
    from torch import Tensor


def run_view(path: Path, data: str | None = None, allow_code: Collection[str] = ()) -> RunView:
    """A run with its test set and what its members say about it; without them if the data cannot be read."""
    loaded = load_run(path, allow_code=allow_code)
    held = None
    try:
        held = _held(loaded, data)
    except DataError as error:
        attend.tell(f"{error}; the report goes without what needs the test images")
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
        stamp=_stamp(loaded),
        result=loaded.folder.json("result.json") if loaded.folder.complete else {},
        metrics=loaded.folder.rows(),
        members=members,
        held=held,
    )


def _stamp(loaded: Loaded) -> dict[str, Any]:
    try:
        return loaded.folder.json("stamp.json")
    except CheckpointError as error:
        attend.tell(f"{error}; the report does not say where the run was made")
        return {}


def _held(loaded: Loaded, data: str | None) -> Held:
    splits, same = same_data(loaded, data)
    if not same:
        attend.tell(f"{loaded.folder.path}: the data has changed since the run was trained")
    feed = make_feed(loaded.config, splits, loaded.interface)
    said = logits(list(loaded.members.values()), feed.test(), loaded.precision)
    test = splits.test
    return Held(test.pixels, test.labels, test.names, test.classes, said)


def first_filters(network: nn.Module) -> "Tensor | None":
    """Weights of the first convolution. Shape: (N, C, k, k)"""
    kernels: Iterable[nn.Conv2d] = (m for m in network.modules() if isinstance(m, nn.Conv2d))
    first = next(iter(kernels), None)
    return None if first is None else first.weight.detach().to("cpu", torch.float32)

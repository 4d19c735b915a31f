"""A finished or unfinished run, ready to predict."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from concord.consensus.names import ENSEMBLE
from concord.data.images.images import joined
from concord.data.images.pictures import Watch
from concord.data.load import UnusableError
from concord.data.splits import Splits
from concord.errors import DataError, amount
from concord.runs import stands
from concord.runs.assemble import build_members, load_again, load_data
from concord.runs.config import Config
from concord.runs.folder import RunFolder
from concord.runs.interface import Interface, check_same, interface_of
from concord.runs.machine import resolved
from concord.runs.precision import precisions, whole_float32
from concord.runs.stands import stands_for
from concord.runs.task_kinds import refuse_other
from concord.runs.watching import Stop, never, reading
from concord.training.evaluate import outputs
from concord.training.observer import SILENT, Observer


@dataclass(frozen=True)
class Loaded:
    """A run with its members at the weights of the checkpoint that it stands for."""

    folder: RunFolder
    config: Config
    interface: Interface
    members: dict[str, nn.Module]
    checkpoint: Path
    fingerprint: str | None  # of the data that this checkpoint was trained on
    precisions: dict[str, torch.dtype]
    result: dict[str, Any] | None  # what result.json held then; None of a run in progress
    logged: int | None  # bytes of metrics.jsonl that belong to this checkpoint; None: all
    weights: str  # SHA-256 of the files of all members

    def trained_on(self, splits: Splits) -> bool:
        """Whether these are the data of the training, as far as anybody knows."""
        return self.fingerprint in (None, splits.fingerprint)

    @property
    def precision(self) -> tuple[torch.dtype, ...]:
        return tuple(self.precisions.values())

    def rows(self, needs: Iterable[str] = ()) -> list[dict[str, Any]]:
        """The epochs of metrics.jsonl up to this checkpoint; CheckpointError as ``RunFolder.rows``."""
        return self.folder.rows(needs, self.logged)

    def chosen(self, member: str) -> dict[str, nn.Module]:
        """One member by name, or all of them for the ensemble."""
        return stands.chosen(self.members, member)

    def probabilities(self, pixels: Tensor, member: str = ENSEMBLE, temperature: float = 1.0) -> Tensor:
        """softmax of the mean of logits over the temperature, in float32 whatever the training computed in.

        Shape: uint8 (B, C, H, W) -> (B, K)
        """
        x = self.interface.normalise(pixels.to(self.config.train.device))
        x = x.contiguous(memory_format=torch.channels_last)
        with whole_float32():
            logits = torch.stack(outputs(self.chosen(member), x)).mean(0)
            return (logits / temperature).softmax(-1).cpu()


def load_run(
    path: Path,
    *,
    member: str = ENSEMBLE,
    allow_code: Collection[str] = (),
    device: str | None = None,
    strict: bool = False,
    observer: Observer = SILENT,
) -> Loaded:
    """Members of a run at their final weights; CheckpointError if it is not a run or damaged.

    With the name of a ``member`` that member alone is built, so no permission is needed for other code.
    With ``strict`` that is so if the newest checkpoint is damaged, where else an earlier one is used.

    All lie on one device. On another kind of machine than the run was trained on, precision and device are
    chosen anew.
    """
    stood = stands_for(path, member=member, device=device, strict=strict, observer=observer)
    refuse_other(path, stood.config.train.task)
    folder, found, result = stood.folder, stood.found, stood.result
    config = resolved(stood.config)
    interface = interface_of(folder, found.state, observer.notice)
    members = build_members(stood.needed(config, member), interface, allow_code, saved=found)
    stood.fill(members)
    precise = precisions(config, members, interface.shape)
    seen = found.state.get("fingerprint")
    return Loaded(
        folder,
        config,
        interface,
        members,
        found.path,
        seen,
        precise,
        result,
        found.state.get("metrics_bytes") if result is None else None,
        found.weights,
    )


def same_data(
    run: Loaded, source: str | None, observer: Observer = SILENT, stop: Stop = never
) -> tuple[Splits, bool]:
    """The splits of the run, or of other data with the same classes; and whether they are those of the
    training.

    Raises DataError when the classes differ by name or the images by shape.
    """
    watch = reading(observer, stop)
    try:
        if source is None:
            splits = load_again(run.config, "--data PATH", watch)
        else:
            splits = _other_data(run, source, watch)
    except UnusableError as error:
        raise DataError(error.elsewhere) from None
    check_same(run.interface, splits, source or run.config.data.source)
    same = run.trained_on(splits)
    if source is not None and not (same or splits.own_test):  # nothing of it was trained on: all is a test
        splits = replace(splits, test=joined(joined(splits.train, splits.valid), splits.test))
    return splits, same


def other_data(run: Loaded, source: str | None, splits: Splits) -> str:
    """The note that a run is scored on other data than it was trained on, and on which images of them."""
    which = "its own test part" if splits.own_test else "a test part cut from it"
    if source is not None and not splits.own_test:
        which = "all of it"
    return (
        f"{source or run.config.data.source} is not the data that {run.folder.path} was trained on: scored is"
        f" {which} ({amount(len(splits.test), 'image')})"
    )


def _other_data(run: Loaded, source: str, watch: Watch) -> Splits:
    """Data at ``source`` at the size of the run's; a limit of the training cuts no other data."""
    data = run.config.data.model_copy(update={"source": source})
    if data.size is None and run.interface.shape[1] == run.interface.shape[2]:
        data = data.model_copy(update={"size": run.interface.shape[1]})
    splits = load_data(run.config.model_copy(update={"data": data}), watch)
    if data.limit is None or run.trained_on(splits):
        return splits
    whole = data.model_copy(update={"limit": None})
    return load_data(run.config.model_copy(update={"data": whole}), watch)

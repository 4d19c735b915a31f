"""Rows for the table of baselines: from a fitted classifier, and from every member of a run."""

import time
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from concord.baseline.fit import Measured
from concord.baseline.published import published
from concord.baseline.samples import Samples
from concord.consensus.names import ENSEMBLE
from concord.consensus.objective import ensemble_logits
from concord.data.images.images import Images
from concord.data.splits import Splits
from concord.errors import DataError, amount
from concord.runs.assemble import costs
from concord.runs.feeds import make_feed
from concord.runs.loading import Loaded, same_data
from concord.runs.rivals import Rival
from concord.tasks.classify import Classify
from concord.tasks.task import Tree
from concord.training.evaluate import evaluate


def described(settings: Mapping[str, float]) -> str:
    """``c 5, gamma 0.0269``"""
    return ", ".join(f"{name} {value:g}" for name, value in settings.items())


def from_measured(measured: Measured, test: Samples, mnist: bool) -> Rival:
    """The row of a baseline."""
    figure = published(measured.name, measured.settings, measured.images) if mnist else None
    return Rival(
        measured.name,
        described(measured.settings),
        measured.images,
        measured.predicted != test.y,
        measured.fit_seconds,
        measured.predict_seconds,
        measured.cost.numbers,
        measured.cost.macs,
        measured.cost.support,
        figure.error if figure else None,
    )


def from_run(loaded: Loaded, data: str | None, test: Images, mnist: bool) -> list[Rival]:
    """Every member, and the ensemble where there are several; each row has the seconds of the whole run.

    Raises DataError if the run was tested on other images than ``test``.
    """
    splits, _ = same_data(loaded, data)
    if splits.test.fingerprint != test.fingerprint:
        raise DataError(
            f"{loaded.folder.path}: the test images of this run are not those of the table; give runs that "
            "were made from one source with the same data settings"
        )
    feed = make_feed(loaded.config, splits, loaded.interface)
    seconds = sum(row["seconds"] for row in loaded.rows(("seconds",)))
    rows: list[Rival] = []
    found: list[Tensor] = []
    for name in loaded.members:
        _logits(loaded, name, islice(feed.test(), 1))  # the first batch is slower
        began = time.perf_counter()
        found.append(_logits(loaded, name, feed.test()))
        took = time.perf_counter() - began
        rows.append(_member(loaded, name, found[-1], splits, seconds, took, mnist))
    return rows if len(rows) == 1 else [*rows, _ensemble(loaded, rows, found, splits.test)]


def _logits(loaded: Loaded, name: str, samples: Iterable[tuple[Tree, Tree]]) -> Tensor:
    """Logits of one member for all samples. Shape: -> (N, K)"""
    task = Classify(len(loaded.interface.classes))
    found = evaluate({name: loaded.members[name]}, samples, task, keep=True)
    return found.predictions[name]["logits"]


def _member(
    loaded: Loaded,
    name: str,
    logits: Tensor,
    splits: Splits,
    seconds: float,
    took: float,
    mnist: bool,
) -> Rival:
    described = next(one for one in loaded.config.members if one.name == name)
    network = described.network.rpartition(":")[2]
    changed = loaded.config.augment.changes  # the published figure is without
    seen = len(splits.train) + len(splits.valid)
    figure = published(network, {}, seen) if mnist and not changed else None
    spent = costs({name: loaded.members[name]}, loaded.interface.shape)[name]
    about = f"{network}, {amount(loaded.config.train.epochs, 'epoch')}{', augmented' if changed else ''}"
    return Rival(
        f"{loaded.folder.path.name}: {name}",
        about,
        len(splits.train),
        _wrong(logits, splits.test),
        seconds,
        took,
        spent.parameters,
        spent.macs,
        published=figure.error if figure else None,
    )


def _ensemble(loaded: Loaded, rows: Sequence[Rival], logits: Sequence[Tensor], test: Images) -> Rival:
    return Rival(
        f"{loaded.folder.path.name}: {ENSEMBLE}",
        f"mean of {len(rows)} logits",
        rows[0].images,
        _wrong(ensemble_logits(list(logits)), test),
        rows[0].fit_seconds,
        sum(row.predict_seconds for row in rows),
        sum(row.numbers for row in rows),
        sum(row.macs for row in rows),
    )


def _wrong(logits: Tensor, test: Images) -> NDArray[np.bool_]:
    return (logits.argmax(-1) != test.labels.cpu()).numpy()

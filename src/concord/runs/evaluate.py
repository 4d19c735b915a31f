"""Scores of a run on its test split, or on that of other data with the same classes."""

from collections.abc import Collection
from dataclasses import asdict
from pathlib import Path
from typing import Any

from torch import Tensor

from concord.runs import assemble
from concord.runs.feeds import make_feed
from concord.runs.loading import Loaded, load_run, same_data
from concord.runs.machine import settled
from concord.runs.result import comparison_of, ensemble_of, members_of
from concord.runs.watching import Stop, never
from concord.tasks.classify import Classify
from concord.training import evaluate as scoring
from concord.training.observer import SILENT, Observer


def evaluate(
    run: Path,
    *,
    data: str | None = None,
    allow_code: Collection[str] = (),
    strict: bool = False,
    observer: Observer = SILENT,
    stop: Stop = never,
) -> dict[str, Any]:
    """Scores of a run on its own test split, or on that of other data with the same classes.

    ``strict``: CheckpointError if the newest checkpoint is damaged, where otherwise an earlier one is used.
    """
    loaded = load_run(run, allow_code=allow_code, strict=strict, observer=observer)
    with settled(loaded.config):
        return _scores(loaded, data, observer, stop)


def _scores(loaded: Loaded, data: str | None, observer: Observer, stop: Stop) -> dict[str, Any]:
    splits, same = same_data(loaded, data, observer, stop)
    if not same:
        observer.notice("this is not the data that the run was trained on")
    feed = make_feed(loaded.config, splits, loaded.interface)
    task, members = Classify(len(loaded.interface.classes)), loaded.members
    tested = scoring.evaluate(members, feed.test(), task, stop=stop).tally
    test, valid = task.scores(tested, list(members)), None
    if feed.has_valid:
        valid = task.scores(scoring.evaluate(members, feed.valid(), task, stop=stop).tally, list(members))
    costs = assemble.costs(members, loaded.interface.shape)
    rows = loaded.folder.rows(("seconds", "samples_per_second"))
    seconds = sum(row["seconds"] for row in rows)
    images = sum(row["seconds"] * row["samples_per_second"] for row in rows)
    return {
        "members": {name: asdict(row) for name, row in members_of(test, valid, costs).items()},
        "ensemble": asdict(ensemble_of(test, valid)),
        **asdict(comparison_of(test)),
        "recall": _recall(*task.by_class(tested, len(members)), loaded),
        "run": str(loaded.folder.path),
        "samples": len(splits.test),
        "seconds": seconds,
        "samples_per_second": images / seconds if seconds else 0.0,
        "checkpoint": loaded.checkpoint.name,
        "fingerprint": splits.fingerprint,
    }


def _recall(samples: Tensor, right: Tensor, loaded: Loaded) -> list[dict[str, Any]]:
    """A row per class: test samples, and the share that each member and the ensemble name rightly.

    Shape: (K,), (M + 1, K)
    """
    rows = []
    for name, n, hits in zip(loaded.interface.classes, samples.tolist(), right.T.tolist(), strict=True):
        *shares, ensemble = [hit / n if n else None for hit in hits]
        members = dict(zip(loaded.members, shares, strict=True))
        rows.append({"class": name, "samples": int(n), "members": members, "ensemble": ensemble})
    return rows

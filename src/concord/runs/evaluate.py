"""Scores of a run on its test split, or on that of other data with the same classes."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import reduce
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from concord.consensus.names import ENSEMBLE
from concord.data.splits import Splits
from concord.files.documents import Document
from concord.runs import assemble
from concord.runs.against import Against, other_images
from concord.runs.against import against as judged_against
from concord.runs.feeds import make_feed
from concord.runs.loading import Loaded, load_run, other_data, same_data
from concord.runs.machine import settled
from concord.runs.result import (
    Diversity,
    EnsembleResult,
    MemberResult,
    diversity_of,
    ensemble_of,
    members_of,
)
from concord.runs.snapshots import with_snapshots
from concord.runs.tested import Logits, logits_of, logits_on_test
from concord.runs.uncertainty import Uncertainty, found_on, judged, kept_of, notes_of, uncertainty_of
from concord.runs.watching import Stop, never
from concord.tasks.classify import Classify, ClassScores
from concord.training.observer import SILENT, Observer

SPENT = ("seconds", "samples_per_second")  # of every line of metrics.jsonl
ROWS = 500  # samples that are tallied at once, as in training


@dataclass(frozen=True)
class Recall:
    """Test samples of a class, and the share of them that each member and the ensemble name rightly."""

    name: str
    samples: int
    members: Mapping[str, float | None]  # None where the class has no sample
    ensemble: float | None

    def to_dict(self) -> dict[str, Any]:
        plain = asdict(self)
        return {"class": plain.pop("name"), **plain}


@dataclass(frozen=True, eq=False)
class Evaluation(Document):
    """Scores of a run; as a mapping it is the document of ``concord eval --json``."""

    members: Mapping[str, MemberResult]
    ensemble: EnsembleResult
    diversity: Diversity
    recall: tuple[Recall, ...]
    run: str
    samples: int
    seconds: float  # of the training
    samples_per_second: float
    checkpoint: str
    fingerprint: str  # of the data
    uncertainty: Uncertainty | None = None  # by what the validation part of the run gave
    against: tuple[Against, ...] = ()  # other data that were asked about

    def to_dict(self) -> dict[str, Any]:
        plain = asdict(self)
        head = {key: plain.pop(key) for key in ("members", "ensemble")}
        diversity = plain.pop("diversity")
        own = {
            "recall": [row.to_dict() for row in self.recall],
            "uncertainty": self.uncertainty and self.uncertainty.to_dict(),
            "against": [row.to_dict() for row in self.against],
        }
        return {**head, **diversity, **plain, **own}


def evaluate(
    run: Path,
    *,
    data: str | None = None,
    against: Sequence[str] = (),
    allow_code: Collection[str] = (),
    strict: bool = False,
    snapshots: bool = False,
    observer: Observer = SILENT,
    stop: Stop = never,
) -> Evaluation:
    """Scores of a run on its own test split, or on that of other data with the same classes.

    ``against``: other data, from which the run should separate its own test images by how unsure it is.
    ``strict``: CheckpointError if the newest checkpoint is damaged, where otherwise an earlier one is used.
    ``snapshots``: the members are the snapshots of those that the run has, see ``runs.snapshots``.
    """
    loaded = load_run(run, allow_code=allow_code, strict=strict, observer=observer)
    if snapshots:
        loaded = with_snapshots(loaded, allow_code)
    with settled(loaded.config):
        return _scores(loaded, data, against, observer, stop)


def _scores(
    loaded: Loaded, data: str | None, against: Sequence[str], observer: Observer, stop: Stop
) -> Evaluation:
    splits, same = same_data(loaded, data, observer, stop)
    if not same:
        observer.notice(other_data(loaded, data, splits))
    others = [other_images(loaded, splits.test, source, observer, stop) for source in against]
    task, names = Classify(len(loaded.interface.classes)), list(loaded.members)
    found = logits_on_test(loaded, splits, same=same, observer=observer, stop=stop)
    tally = _tally(task, found, splits.test.labels.cpu())
    test, valid, predicted = task.scores(tally, names), None, None
    if len(splits.valid):
        feed = make_feed(loaded.config, splits, loaded.interface)
        predicted = logits_of(loaded, feed.valid(), stop)
        valid = task.scores(_tally(task, predicted, splits.valid.labels.cpu()), names)
    seconds, images = spent(loaded.rows(SPENT))
    return Evaluation(
        members=members_of(test, valid, assemble.costs(loaded.members, loaded.interface.shape)),
        ensemble=ensemble_of(test, valid),
        diversity=diversity_of(test),
        recall=recall_of(*task.by_class(tally, len(names)), loaded.interface.classes, names),
        run=str(loaded.folder.path),
        samples=len(splits.test),
        seconds=seconds,
        samples_per_second=images / seconds if seconds else 0.0,
        checkpoint=loaded.checkpoint.name,
        fingerprint=splits.fingerprint,
        uncertainty=_uncertainty(loaded, splits, found, predicted if same else None),
        against=tuple(
            judged_against(loaded, found, source, images, stop)
            for source, images in zip(against, others, strict=True)
        ),
    )


def _uncertainty(loaded: Loaded, splits: Splits, test: Logits, valid: Logits | None) -> Uncertainty | None:
    """On the test part by what the run kept of its validation part, or by its validation part now."""
    labels, train = splits.test.labels.cpu(), loaded.config.train
    kept = uncertainty_of(loaded.folder, loaded.result)
    if kept is not None and kept.members.keys() == test.keys():  # snapshots are other members
        rows, samples, notes, coverage = kept_of(kept), kept.samples, kept.notes, kept.coverage
    elif valid is not None:
        rows, samples = found_on(valid, splits.valid.labels.cpu(), train.coverage), len(splits.valid)
        notes, coverage = notes_of(rows, train, samples), train.coverage
    else:
        return None
    return judged(rows, test, labels, coverage=coverage, samples=samples, notes=notes)


def snapshots_together(
    run: Path, *, allow_code: Collection[str] = (), observer: Observer = SILENT, stop: Stop = never
) -> dict[str, EnsembleResult]:
    """What the snapshots of each member predict together, and those of all members under ``ENSEMBLE``.

    Figures of the test and validation splits of the run. Raises what ``with_snapshots`` does.
    """
    loaded = with_snapshots(load_run(run, allow_code=allow_code, observer=observer), allow_code)
    with settled(loaded.config):
        splits, same = same_data(loaded, None, observer, stop)
        task = Classify(len(loaded.interface.classes))
        test, labels = (
            logits_on_test(loaded, splits, same=same, observer=observer, stop=stop),
            splits.test.labels,
        )
        valid = None
        if len(splits.valid):
            valid = logits_of(loaded, make_feed(loaded.config, splits, loaded.interface).valid(), stop)
    groups: dict[str, list[str]] = {}
    for name in loaded.members:
        groups.setdefault(name.rpartition("@")[0], []).append(name)

    def scores(logits: Mapping[str, Tensor], labels: Tensor, names: Sequence[str]) -> ClassScores:
        return task.scores(_tally(task, {name: logits[name] for name in names}, labels.cpu()), names)

    return {
        column: ensemble_of(
            scores(test, labels, names), scores(valid, splits.valid.labels, names) if valid else None
        )
        for column, names in [*groups.items(), (ENSEMBLE, list(loaded.members))]
    }


def _tally(task: Classify, logits: Mapping[str, Tensor], labels: Tensor) -> Tensor:
    """Sums over all samples, a few hundred at a time: they are computed in float64 for every class."""
    parts = zip(*(rows.split(ROWS) for rows in (*logits.values(), labels)), strict=True)
    return reduce(torch.add, (task.tally(rows, [y] * len(rows)) for *rows, y in parts))


def spent(rows: Sequence[Mapping[str, Any]]) -> tuple[float, float]:
    """Seconds of training, and the samples of all epochs."""
    return (
        sum(row["seconds"] for row in rows),
        sum(row["seconds"] * row["samples_per_second"] for row in rows),
    )


def recall_of(
    samples: Tensor, right: Tensor, classes: Sequence[str], members: Iterable[str]
) -> tuple[Recall, ...]:
    """A row per class. Shape: (K,), (M + 1, K)"""
    rows = []
    for name, n, hits in zip(classes, samples.tolist(), right.T.tolist(), strict=True):
        *shares, ensemble = [hit / n if n else None for hit in hits]
        named = dict(zip(members, shares, strict=True))
        rows.append(Recall(name, int(n), named, ensemble))
    return tuple(rows)

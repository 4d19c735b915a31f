"""Labels for image files, by a run or by a packed file."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from concord.consensus.names import ENSEMBLE
from concord.data.images.decode import LARGEST, Mode, expand, open_image
from concord.errors import DataError, DivergedError, UsageError
from concord.runs.label_sets import Limit, limit_of
from concord.runs.loading import Loaded, load_run
from concord.runs.machine import settled, steady
from concord.runs.packed_file import PackedMember, read_packed
from concord.training.observer import SILENT, Observer

BATCH = 64


@dataclass(frozen=True)
class Prediction:
    """What a run says of one file; ``error`` says why the file could not be read, the rest is None then."""

    file: str
    label: str | None = None
    confidence: float | None = None  # probability of the label
    error: str | None = None
    top: tuple[tuple[str, float], ...] = ()  # the likeliest classes, if more than one was asked for
    probabilities: Mapping[str, float] | None = None  # of all classes, if asked for
    label_set: tuple[str, ...] | None = None  # likeliest first, if asked for

    def to_dict(self) -> dict[str, Any]:
        """A row of ``concord predict --json``."""
        row: dict[str, Any] = {"file": self.file, "label": self.label, "confidence": self.confidence}
        if self.error is not None:
            row["error"] = self.error
        if self.top:
            row["top"] = [{"label": label, "confidence": share} for label, share in self.top]
        if self.probabilities is not None:
            row["probabilities"] = dict(self.probabilities)
        if self.label_set is not None:
            row["set"] = list(self.label_set)
        return row


def predict(
    run: Path,
    files: Sequence[str],
    *,
    member: str = ENSEMBLE,
    top: int = 1,
    probabilities: bool = False,
    sets: str | None = None,
    allow_code: Collection[str] = (),
    observer: Observer = SILENT,
) -> list[Prediction]:
    """Label and confidence of every image, in the order given; one that cannot be read has an ``error``.

    With ``top`` above 1 each has the ``top`` likeliest classes too, with ``probabilities`` those of all
    classes, and with ``sets`` ("lac", "aps" or "raps") the set of labels that has the true one as often as
    ``train.coverage`` of the run says, see ``concord.uncertainty.conformal``: UsageError for a run without
    thresholds. Computed in float32, whatever the precision of the training was.
    """
    if top < 1:
        raise UsageError(f"top must be at least 1, got {top}")
    loaded = _packed(run, member) if run.is_file() else _of_run(run, member, allow_code, observer)
    asked = Asked(
        member, top, probabilities, None if sets is None else _limit(loaded, member, sets, observer)
    )
    rows = [row for text in files for row in _rows_of(text)]
    with loaded.machine:
        for start in range(0, len(rows), BATCH):
            some = slice(start, start + BATCH)
            rows[some] = _predicted(loaded, rows[some], asked)
            observer.counted(min(start + BATCH, len(rows)), len(rows))
    return rows


class Asked(NamedTuple):
    """What each row has: classes by falling probability, all probabilities, a set of labels."""

    member: str
    top: int
    every: bool
    limit: Limit | None


class Labelling(NamedTuple):
    """What gives probabilities, how the process is set meanwhile, and the megapixels of a picture at most."""

    source: Loaded | PackedMember
    machine: AbstractContextManager[None]
    largest: float


def _of_run(run: Path, member: str, allow_code: Collection[str], observer: Observer) -> Labelling:
    loaded = load_run(run, member=member, allow_code=allow_code, observer=observer)
    return Labelling(loaded, settled(loaded.config), loaded.config.data.largest_image)


def _packed(file: Path, member: str) -> Labelling:
    found = read_packed(file)
    found.require(member)
    return Labelling(found, steady(["cpu"]), LARGEST)


def _rows_of(text: str) -> list[Prediction]:
    """A row for each file that an argument stands for, or one with the error where it matches nothing."""
    try:
        return [Prediction(str(path)) for path in expand([text])]
    except DataError as error:
        return [Prediction(text, error=str(error))]


def _limit(loaded: Labelling, member: str, method: str, observer: Observer) -> Limit:
    if isinstance(loaded.source, PackedMember):
        raise UsageError(
            f"{loaded.source.checkpoint} is a packed file, which has no thresholds for sets of labels: name"
            " the run that it was exported from"
        )
    return limit_of(loaded.source, member, method, observer)


def _predicted(loaded: Labelling, rows: Sequence[Prediction], asked: Asked) -> list[Prediction]:
    """The rows with label and confidence, or with the error."""
    done = [_read(loaded, row) for row in rows]
    images = [image for image in done if isinstance(image, Tensor)]
    shares = _shares(loaded, torch.stack(images), asked.member) if images else iter(())
    return [
        _row(row.file, found, next(shares), loaded.source.interface.classes, asked)
        if isinstance(found, Tensor)
        else found
        for row, found in zip(rows, done, strict=True)
    ]


def _shares(loaded: Labelling, pixels: Tensor, member: str) -> Iterator[Tensor]:
    """Probabilities of every image; DivergedError where they are no numbers, which name no class."""
    found = loaded.source.probabilities(pixels, member)
    if not found.isfinite().all():
        raise DivergedError(f"{loaded.source.checkpoint}: {member} does not give finite numbers for an image")
    return iter(found)


def _read(loaded: Labelling, row: Prediction) -> Tensor | Prediction:
    """The pixels of the file, or the row with the error."""
    if row.error is not None:
        return row
    channels, *size = loaded.source.interface.shape
    mode: Mode = "L" if channels == 1 else "RGB"
    try:
        return open_image(Path(row.file), mode=mode, size=(size[0], size[1]), largest=loaded.largest)
    except DataError as error:
        return Prediction(row.file, error=str(error))


def _row(file: str, pixels: Tensor, shares: Tensor, classes: Sequence[str], asked: Asked) -> Prediction:
    """Shape: pixels (C, H, W), shares (K,)"""
    best = shares.topk(min(asked.top, len(classes)))
    ranked = tuple((classes[k], p) for k, p in zip(best.indices.tolist(), best.values.tolist(), strict=True))
    whole = dict(zip(classes, shares.tolist(), strict=True)) if asked.every else None
    inside = None if asked.limit is None else tuple(classes[k] for k in asked.limit.labels(pixels, shares))
    top = ranked if asked.top > 1 else ()
    return Prediction(file, *ranked[0], top=top, probabilities=whole, label_set=inside)

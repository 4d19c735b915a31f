"""Masks or boxes for image files, by a run."""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from concord.consensus.names import ENSEMBLE
from concord.data.detection.boxed import unmarked
from concord.data.images.decode import Mode, expand, open_image
from concord.errors import DataError, DivergedError, UsageError
from concord.files.text import printable
from concord.runs.machine import settled
from concord.runs.vision.loading import LoadedVision, load_run
from concord.runs.vision.members import canvas_of
from concord.runs.vision.settings import DETECT
from concord.training.observer import SILENT, Observer

SCORE = 0.25  # of a box that is shown


@dataclass(frozen=True, eq=False)
class MaskPrediction:
    """The class of every pixel of a file; ``error`` says why it could not be read, the rest is empty then.

    ``shares``: of the pixels, those of each class. ``confidence``: mean probability of the classes named.
    """

    file: str
    shares: Mapping[str, float] = field(default_factory=dict)
    confidence: float | None = None
    error: str | None = None
    classes: Tensor | None = field(default=None, repr=False)  # (H, W) uint8 or int64

    @property
    def size(self) -> tuple[int, int] | None:
        """Height and width."""
        return None if self.classes is None else (self.classes.shape[0], self.classes.shape[1])

    def summary(self) -> str:
        """``cell 78.1 %, membrane 21.9 %``"""
        return ", ".join(f"{printable(name)} {100 * share:.1f} %" for name, share in self.shares.items())

    def to_dict(self) -> dict[str, Any]:
        """A row of ``concord predict --json``."""
        largest = max(self.shares, key=lambda name: self.shares[name]) if self.shares else None
        row: dict[str, Any] = {"file": self.file, "label": largest, "confidence": self.confidence}
        row["shares"] = dict(self.shares)
        return row if self.error is None else {**row, "error": self.error}


@dataclass(frozen=True)
class Box:
    """One object: its class, how sure of it the members are, and x1, y1, x2, y2 in pixels of the file."""

    label: str
    confidence: float
    corners: tuple[float, float, float, float]

    def to_dict(self) -> dict[str, Any]:
        return {"label": self.label, "confidence": self.confidence, "box": list(self.corners)}


@dataclass(frozen=True)
class BoxPrediction:
    """The objects of a file, surest first; ``error`` says why it could not be read."""

    file: str
    boxes: tuple[Box, ...] = ()
    size: tuple[int, int] | None = None  # height and width
    error: str | None = None

    def summary(self) -> str:
        """``RBC 12, WBC 1``"""
        counts = Counter(box.label for box in self.boxes)
        return ", ".join(f"{printable(name)} {count}" for name, count in counts.items()) or "nothing"

    def to_dict(self) -> dict[str, Any]:
        """A row of ``concord predict --json``."""
        first = self.boxes[0] if self.boxes else None
        row: dict[str, Any] = {
            "file": self.file,
            "label": first and first.label,
            "confidence": first and first.confidence,
            "boxes": [box.to_dict() for box in self.boxes],
        }
        return row if self.error is None else {**row, "error": self.error}


VisionPrediction = MaskPrediction | BoxPrediction


def predict(
    run: Path,
    files: Sequence[str],
    *,
    member: str = ENSEMBLE,
    score: float = SCORE,
    allow_code: Collection[str] = (),
    observer: Observer = SILENT,
) -> list[MaskPrediction] | list[BoxPrediction]:
    """A prediction for every image, in the order given; one that cannot be read has an ``error``.

    ``score``: boxes that are less sure are left out. Pictures are predicted in their own size, masks tile by
    tile. UsageError for a score that is no probability.
    """
    if not 0 <= score <= 1:
        raise UsageError(f"the score is a probability from 0 to 1, got {score}")
    loaded = load_run(run, member=member, allow_code=allow_code, observer=observer)
    paths = [path for text in files for path in _paths(text)]
    detect = loaded.interface.task == DETECT
    found: list[Any] = []
    with settled(loaded.config):
        for path in paths:
            if isinstance(path, tuple):
                text, error = path
                found.append(
                    BoxPrediction(text, error=error) if detect else MaskPrediction(text, error=error)
                )
            else:
                found.append(_boxes(loaded, path, member, score) if detect else _mask(loaded, path, member))
            observer.counted(len(found), len(paths))
    return found


def _paths(text: str) -> Iterator[Path | tuple[str, str]]:
    """Files that an argument stands for, or the argument with why it stands for none."""
    try:
        yield from expand([text])
    except DataError as error:
        yield text, str(error)


def _mask(loaded: LoadedVision, path: Path, member: str) -> MaskPrediction:
    """The likeliest class of every pixel."""
    mode: Mode = "L" if loaded.interface.channels == 1 else "RGB"
    try:
        pixels = open_image(path, mode=mode, largest=loaded.config.data.largest_image)
    except DataError as error:
        return MaskPrediction(str(path), error=str(error))
    (shares,) = loaded.combined(pixels[None], member).softmax(1)  # (K, H, W)
    _require_finite(shares, loaded, member)
    best = shares.max(0)
    names = loaded.interface.classes
    counts = torch.bincount(best.indices.flatten(), minlength=len(names)) / best.indices.numel()
    kind = torch.uint8 if len(names) <= 256 else torch.int64
    of_class = dict(zip(names, counts.tolist(), strict=True))
    return MaskPrediction(str(path), of_class, best.values.mean().item(), classes=best.indices.to(kind).cpu())


def _boxes(loaded: LoadedVision, path: Path, member: str, score: float) -> BoxPrediction:
    """Objects in pixels of the file."""
    names = loaded.interface.classes
    try:
        images = unmarked([path], names, canvas_of(loaded.interface))
        pixels, _ = images.batch(torch.zeros(1, dtype=torch.int64), None)
    except DataError as error:
        return BoxPrediction(str(path), error=str(error))
    assert isinstance(pixels, Tensor)
    found = {key: rows[0].cpu() for key, rows in loaded.combined(pixels, member).items()}
    _require_finite(found["boxes"], loaded, member)
    shown = (found["labels"] >= 0) & (found["scores"] >= score)
    corners = images.restore(found["boxes"][shown], 0).tolist()
    rows = zip(found["labels"][shown].tolist(), found["scores"][shown].tolist(), corners, strict=True)
    boxes = tuple(Box(names[label], sure, tuple(box)) for label, sure, box in rows)
    width, height = images.samples[0].size
    return BoxPrediction(str(path), boxes, (height, width))


def _require_finite(numbers: Tensor, loaded: LoadedVision, member: str) -> None:
    if not numbers.isfinite().all():
        raise DivergedError(f"{loaded.found.path}: {member} does not give finite numbers for a picture")

"""Masks or boxes for image files, by a run."""

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from concord.consensus.names import ENSEMBLE
from concord.data.detection.boxed import unmarked
from concord.data.images.decode import Mode, expand, open_image
from concord.errors import DataError, DivergedError, UsageError
from concord.runs.machine import settled
from concord.runs.vision.found import Box, BoxPrediction, MaskPrediction
from concord.runs.vision.loading import LoadedVision, load_run
from concord.runs.vision.members import canvas_of
from concord.runs.vision.settings import DETECT
from concord.runs.vision.written import require, written
from concord.training.observer import SILENT, Observer

SCORE = 0.25  # of a box that is shown


def predict(
    run: Path,
    files: Sequence[str],
    *,
    member: str = ENSEMBLE,
    score: float | None = None,
    to: Path | None = None,
    format: str = "png",
    allow_code: Collection[str] = (),
    observer: Observer = SILENT,
) -> list[MaskPrediction] | list[BoxPrediction]:
    """A prediction for every image, in the order given; one that cannot be read has an ``error``.

    ``score``: boxes that are less sure are left out, than .25 unless given. Masks are found in the size of
    the picture, tile by tile. With ``to`` what was found is written into that folder. UsageError for a score
    that is not from 0 to 1, and for a score or a format that the task does not have.
    """
    if score is not None and not 0 <= score <= 1:
        raise UsageError(f"the score is a probability from 0 to 1, got {score}")
    loaded = load_run(run, member=member, allow_code=allow_code, observer=observer)
    if score is not None and loaded.interface.task != DETECT:
        raise UsageError(f"a score is of boxes; {run} finds masks")
    least = SCORE if score is None else score
    if to is not None:
        require(to, format, loaded.interface.task)
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
                found.append(_boxes(loaded, path, member, least) if detect else _mask(loaded, path, member))
            observer.counted(len(found), len(paths))
    if to is not None:
        written(found, loaded.interface.classes, to, format)
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
    counts = torch.bincount(best.indices.flatten(), minlength=len(names)).double() / best.indices.numel()
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

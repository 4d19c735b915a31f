"""Labels for image files, by a run."""

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import torch

from concord.data.images.decode import expand, open_image
from concord.errors import DataError
from concord.runs.loading import ENSEMBLE, Loaded, load_run
from concord.runs.machine import settled
from concord.training.observer import SILENT, Observer

BATCH = 256


def predict(
    run: Path,
    files: Sequence[str],
    *,
    member: str = ENSEMBLE,
    allow_code: Collection[str] = (),
    observer: Observer = SILENT,
) -> list[dict[str, Any]]:
    """Label and confidence of every image, in the order given; one that cannot be read has an ``error``."""
    loaded = load_run(run, allow_code=allow_code, observer=observer)
    loaded.chosen(member)
    rows = [row for text in files for row in _rows_of(text)]
    there = [row for row in rows if "error" not in row]
    with settled(loaded.config):
        for start in range(0, len(there), BATCH):
            _predict_some(loaded, there[start : start + BATCH], member)
    return rows


def _rows_of(text: str) -> list[dict[str, Any]]:
    """A row for each file that an argument stands for, or one with the error where it matches nothing."""
    try:
        return [{"file": str(path)} for path in expand([text])]
    except DataError as error:
        return [_unreadable(text, error)]


def _unreadable(file: str, error: Exception) -> dict[str, Any]:
    return {"file": file, "label": None, "confidence": None, "error": str(error)}


def _predict_some(loaded: Loaded, rows: Sequence[dict[str, Any]], member: str) -> None:
    """Label and confidence into the rows of these files, or the error."""
    channels, height, width = loaded.interface.shape
    images = {}
    for i, row in enumerate(rows):
        try:
            path = Path(row["file"])
            images[i] = open_image(path, mode="L" if channels == 1 else "RGB", size=(height, width))
        except DataError as error:
            row |= _unreadable(row["file"], error)
    if images:
        confidence, label = loaded.probabilities(torch.stack(list(images.values())), member).max(-1)
        for i, c, k in zip(images, confidence.tolist(), label.tolist(), strict=True):
            rows[i] |= {"label": loaded.interface.classes[k], "confidence": c}

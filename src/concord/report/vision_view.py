"""From the folder of a run of masks or boxes to what its report is made of."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from concord.data.dataset import Dataset
from concord.errors import DataError
from concord.report.boxes import Found, Seen
from concord.report.masks import Triptych
from concord.runs.vision.evaluate import parts_of, scored, tested
from concord.runs.vision.loading import LoadedVision, load_run
from concord.runs.vision.settings import DATA, DETECT, TRAIN
from concord.tasks.detect import Detect
from concord.tasks.detection import padded
from concord.tasks.detection.precision import Curve
from concord.training.observer import SILENT, Observer

EPOCH = ("epoch", "train", "valid")  # what every line of metrics.jsonl has
MOST = 4  # pictures that are drawn
SHOWN = 0.25  # least score of a box that is drawn


@dataclass(frozen=True, eq=False)
class VisionView:
    """A complete run: settings, figures, epochs, and some test pictures with what the ensemble finds."""

    name: str
    config: Mapping[str, Any]
    result: Mapping[str, Any]
    lines: Sequence[Mapping[str, Any]]
    task: str
    classes: tuple[str, ...]
    pictures: tuple[Triptych, ...] | tuple[Seen, ...]
    curves: Mapping[str, Curve] = field(default_factory=dict)  # of the ensemble, by class, at IoU .5


def vision_view(
    path: Path, data: str | None = None, allow_code: Collection[str] = (), observer: Observer = SILENT
) -> VisionView:
    """The view of a complete run; without pictures if the data cannot be read. CheckpointError for others."""
    loaded = load_run(path, allow_code=allow_code, device="cpu", observer=observer)
    result = loaded.folder.json("result.json", ("members", "ensemble"))
    pictures: tuple[Any, ...] = ()
    curves: Mapping[str, Curve] = {}
    try:
        part = tested(parts_of(loaded, data), whole=data is not None)
        draw = _boxes if loaded.interface.task == DETECT else _masks
        pictures = tuple(draw(loaded, part, i) for i in _some(len(part)))
        if isinstance(task := loaded.task, Detect):
            curves = _curves(loaded, task, part)
    except DataError as error:
        observer.notice(f"{error}; the report leaves out pictures")
    return VisionView(
        path.name,
        _settings(loaded),
        result,
        loaded.folder.rows(EPOCH),
        loaded.interface.task,
        loaded.interface.classes,
        pictures,
        curves,
    )


def _curves(loaded: LoadedVision, task: Detect, part: Dataset) -> Mapping[str, Curve]:
    """Precision over recall of the ensemble on a part."""
    found = scored(loaded, part)
    assert found.rows is not None
    rows = found.rows[found.rows[:, 0] == len(loaded.members), 1:]
    truths = found.tally[: len(loaded.interface.classes)]
    return padded.figures(rows, truths, loaded.interface.classes).curves


def _settings(loaded: LoadedVision) -> dict[str, Any]:
    """Without the settings that are of classifiers alone."""
    plain = loaded.config.model_dump(mode="json", exclude_none=True)
    for table, others in (("data", DATA), ("train", TRAIN)):
        plain[table] = {key: value for key, value in plain[table].items() if key not in others}
    return plain


def _some(count: int) -> list[int]:
    """Numbers of a few samples, spread over all of them."""
    return sorted({i * count // MOST for i in range(MOST)})


def _masks(loaded: LoadedVision, part: Dataset, i: int) -> Triptych:
    x, y = part.batch(torch.tensor([i]), None)
    assert isinstance(x, Tensor)
    assert isinstance(y, Tensor)
    found = loaded.combined(x)[0].argmax(0).cpu()
    return Triptych(Path(part.name(i)).name, x[0], y[0], found)


def _boxes(loaded: LoadedVision, part: Dataset, i: int) -> Seen:
    x, y = part.batch(torch.tensor([i]), None)
    assert isinstance(x, Tensor)
    truth: Any = y
    found = {key: rows[0].cpu() for key, rows in loaded.combined(x).items()}
    true, sure = truth["labels"][0] >= 0, (found["labels"] >= 0) & (found["scores"] >= SHOWN)
    return Seen(
        part.name(i),
        x[0],
        Found(truth["boxes"][0][true], truth["labels"][0][true]),
        Found(found["boxes"][sure], found["labels"][sure], found["scores"][sure]),
    )

"""Scores of a run of masks or boxes, on its own test part or on other data."""

from collections.abc import Collection
from pathlib import Path
from typing import Any

from torch.utils.data import DataLoader

from concord.data.dataset import Dataset
from concord.errors import amount
from concord.runs import given, machine
from concord.runs.evaluate import SPENT, spent
from concord.runs.feed_of_data import fingerprint_of
from concord.runs.scored import at, scored_part
from concord.runs.vision import masks
from concord.runs.vision.figures import prices
from concord.runs.vision.loading import LoadedVision, load_run
from concord.runs.vision.result import Spent, VisionResult
from concord.runs.vision.run import load_again
from concord.runs.watching import Stop, never
from concord.training.evaluate import Evaluated, scores_of
from concord.training.observer import SILENT, Observer


def evaluate(
    run: Path,
    *,
    data: str | None = None,
    allow_code: Collection[str] = (),
    strict: bool = False,
    observer: Observer = SILENT,
    stop: Stop = never,
) -> VisionResult[Any]:
    """Scores of a run on its test part, or on that of other data with the same classes.

    Other data without a test part are scored whole.
    """
    loaded = load_run(run, allow_code=allow_code, strict=strict, observer=observer)
    with machine.settled(loaded.config):
        parts = parts_of(loaded, data)
        test = tested(parts, whole=data is not None)
        if data is not None:
            observer.notice(f"{data}: {amount(len(test), 'picture')} are scored")
        found = scored(loaded, test, stop)
        held = parts.valid if data is None and not isinstance(parts.valid, DataLoader) else None
        valid = None if held is None else scored(loaded, held, stop)
    size = loaded.interface.canvas or masks.size_of(parts)
    rows = loaded.folder.rows(SPENT)
    seconds, samples = spent(rows)
    rate = samples / seconds if seconds else 0.0
    names, about = list(loaded.members), (loaded.interface.task, loaded.interface.classes, str(run))
    return VisionResult(
        scores_of(loaded.task, found, names),
        None if valid is None else scores_of(loaded.task, valid, names),
        prices(loaded.members, loaded.interface, size),
        Spent(*about, seconds, rate, len(rows), loaded.found.path.name, fingerprint_of(parts), size),
        (),
    )


def parts_of(loaded: LoadedVision, data: str | None) -> given.Parts:
    """The data of the run, or others at ``data``."""
    return load_again(at(loaded.config, data), loaded.interface, "--data PATH")


def tested(parts: given.Parts, *, whole: bool) -> Dataset:
    """The test part; of data without one the training part, of the run's own the validation part first."""
    if parts.test is not None:
        found = parts.test
    else:
        found = parts.train if whole or parts.valid is None else parts.valid
    assert not isinstance(found, DataLoader)
    return masks.uncut(found)


def scored(loaded: LoadedVision, part: Dataset, stop: Stop = never, *, keep: bool = False) -> Evaluated:
    """Tally and rows of all members on a part; StoppedError when ``stop`` says so."""
    return scored_part(loaded.members, part, loaded.task, stop, keep=keep)

"""Errors of a run on corrupted test images, kept in RUN/corruptions.json under a digest."""

import json
import os
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from concord.consensus.names import ENSEMBLE
from concord.data.images.corrupt import CORRUPTIONS, FAMILIES, STRENGTHS, corrupted
from concord.data.images.images import Images
from concord.data.splits import cut
from concord.errors import CheckpointError, StoppedError, UsageError
from concord.files.atomic import write_text
from concord.files.documents import DIGEST, Document, with_digest
from concord.runs import seal
from concord.runs.folder import RunFolder
from concord.runs.loading import Loaded, load_run, other_data, same_data
from concord.runs.machine import settled
from concord.runs.watching import Stop, never
from concord.tasks.classify import Classify, ClassScores, Figures
from concord.training.evaluate import outputs
from concord.training.observer import SILENT, Observer

FILE = "corruptions.json"
AT_ONCE = 250  # images that are corrupted together
OWN = (
    "The corruptions are concord's own versions of the fifteen of Hendrycks and Dietterich 2019: these errors"
    " are not comparable with those published for CIFAR-10-C or ImageNet-C."
)
Cells = Mapping[tuple[str, int], Tensor]  # corruption and strength -> tally


@dataclass(frozen=True)
class Hurt:
    """One network: ``errors`` has a row of five strengths for each corruption; means are over all of them."""

    clean_error: float
    clean_ece: float
    mean_error: float
    mean_ece: float
    errors: Mapping[str, tuple[float, ...]]

    def family(self, name: str) -> float:
        """Mean error over a family of corruptions."""
        rows = [self.errors[corruption] for corruption in FAMILIES[name]]
        return sum(map(sum, rows)) / (len(rows) * STRENGTHS)


@dataclass(frozen=True, eq=False)
class Corruptions(Document):
    """What corruptions do to the members of a run; as a mapping it is the document of corruptions.json."""

    networks: Mapping[str, Hurt]
    run: str
    checkpoint: str
    weights: str
    own_test: bool
    seed: int
    samples: int
    notices: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        plain = asdict(self)
        for network in plain["networks"].values():
            network["errors"] = {name: list(row) for name, row in network["errors"].items()}
        return with_digest({**plain, "notices": list(self.notices)})


def corrupt(
    run: Path,
    *,
    data: str | None = None,
    limit: int | None = None,
    seed: int = 0,
    allow_code: Collection[str] = (),
    observer: Observer = SILENT,
    stop: Stop = never,
) -> Corruptions:
    """Error of every member and of the ensemble on the test images after 15 corruptions of 5 strengths.

    ``limit``: number of test images, stratified by class. ``data`` is as in ``evaluate``. Nothing is written.
    """
    if limit is not None and limit < 1:
        raise UsageError(f"limit must be at least 1, got {limit}")
    loaded = load_run(run, allow_code=allow_code, observer=observer)
    splits, same = same_data(loaded, data, observer, stop)
    if not same:
        observer.notice(other_data(loaded, data, splits))
    notices = (OWN,) if same else (OWN, other_data(loaded, data, splits))
    test = splits.test
    chosen = torch.arange(len(test))
    if limit is not None and limit < len(test):
        chosen = torch.as_tensor(cut(test, limit, "corruptions")[1])
    with settled(loaded.config):
        clean, cells = _tallied(loaded, test, chosen, seed, observer, stop)
    return Corruptions(
        _networks(loaded, clean, cells),
        str(run),
        loaded.checkpoint.name,
        loaded.weights,
        same,
        seed,
        len(chosen),
        notices,
    )


def _tallied(
    loaded: Loaded, test: Images, chosen: Tensor, seed: int, observer: Observer, stop: Stop
) -> tuple[Tensor, Cells]:
    """Tallies of the images as they are, and after each corruption; StoppedError when ``stop`` says so."""
    task, clean = Classify(len(loaded.interface.classes)), torch.zeros(())
    cells = {(name, s): torch.zeros(()) for name in CORRUPTIONS for s in range(1, STRENGTHS + 1)}
    pieces = chosen.split(AT_ONCE)
    for i, index in enumerate(pieces):
        pixels, labels = test.batch(index, None)
        pixels = pixels.cpu()
        clean = clean + _tally(loaded, task, pixels, labels)
        for name, strength in cells:
            if stop():
                raise StoppedError("stopped while predicting; nothing was written")
            hurt = corrupted(pixels, name, strength, seed=seed, samples=index)
            cells[name, strength] = cells[name, strength] + _tally(loaded, task, hurt, labels)
        observer.counted(i + 1, len(pieces))
    return clean, cells


def _tally(loaded: Loaded, task: Classify, pixels: Tensor, labels: Tensor) -> Tensor:
    x = loaded.interface.normalise(pixels.to(loaded.config.train.device))
    found = outputs(loaded.members, x.contiguous(memory_format=torch.channels_last))
    return task.tally(found, [labels.to(x.device)] * len(found)).cpu()


def _networks(loaded: Loaded, clean: Tensor, cells: Cells) -> dict[str, Hurt]:
    """Every member, and the ensemble where there are several."""
    task, names = Classify(len(loaded.interface.classes)), list(loaded.members)
    whole = task.scores(clean, names)
    scores = {cell: task.scores(tally, names) for cell, tally in cells.items()}
    networks = {}
    for name in (*names, ENSEMBLE) if len(names) > 1 else names:
        own = {cell: _of(found, name) for cell, found in scores.items()}
        errors = {
            corruption: tuple(own[corruption, s].error for s in range(1, STRENGTHS + 1))
            for corruption in CORRUPTIONS
        }
        networks[name] = Hurt(
            _of(whole, name).error,
            _of(whole, name).ece,
            sum(figures.error for figures in own.values()) / len(own),
            sum(figures.ece for figures in own.values()) / len(own),
            errors,
        )
    return networks


def _of(scores: ClassScores, name: str) -> Figures:
    return scores.ensemble if name == ENSEMBLE else scores.members[name]


def write(found: Corruptions, run: Path) -> Path:
    """Keep the figures in the run folder, where the report finds them; gives the file."""
    file = run / FILE
    write_text(file, json.dumps(found.to_dict(), indent=1, allow_nan=False))
    return file


def read(folder: RunFolder, weights: str, observer: Observer = SILENT) -> Corruptions | None:
    """The figures that a run folder keeps of these weights, or None; CheckpointError if they were edited."""
    file = folder.path / FILE
    if not os.path.lexists(file):
        return None
    again = f"`concord corrupt {folder.path}` makes it again"
    try:
        plain = folder.json(FILE, [DIGEST] if seal.there(folder.path) else [])
        found = _read(plain)
    except CheckpointError as error:
        raise CheckpointError(f"{error}. {again}, or remove the file") from None
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise CheckpointError(f"{file}: damaged ({error}). {again}") from None
    if found.weights != weights:
        observer.notice(f"{file} is of other weights; the report leaves it out. {again}")
        return None
    return found


def _read(plain: Mapping[str, Any]) -> Corruptions:
    networks = {}
    for name, row in plain["networks"].items():
        errors = {corruption: tuple(map(float, row["errors"][corruption])) for corruption in CORRUPTIONS}
        if any(len(strengths) != STRENGTHS for strengths in errors.values()):
            raise ValueError(f"a row of {name} has not {STRENGTHS} strengths")
        keys = ("clean_error", "clean_ece", "mean_error", "mean_ece")
        clean_error, clean_ece, mean_error, mean_ece = (float(row[key]) for key in keys)
        networks[name] = Hurt(clean_error, clean_ece, mean_error, mean_ece, errors)
    return Corruptions(
        networks,
        str(plain["run"]),
        str(plain["checkpoint"]),
        str(plain["weights"]),
        bool(plain["own_test"]),
        int(plain["seed"]),
        int(plain["samples"]),
        tuple(map(str, plain["notices"])),
    )

"""What the validation part says of confidence: a temperature, and thresholds for sets of labels.

Both are found on the validation part of a run and judged on a test part, of each member and of the ensemble
(mean of logits). Thresholds are those of the probabilities as they are, without the temperature, which was
found on the same samples.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from math import inf, isfinite
from typing import Any

import numpy as np
import torch
from torch import Tensor

from concord.consensus.names import ENSEMBLE
from concord.consensus.objective import ensemble_logits
from concord.data import draws
from concord.errors import CheckpointError, StoppedError
from concord.runs.config import Train
from concord.runs.folder import RunFolder
from concord.tasks.classify import Classify, ClassScores
from concord.training.evaluate import InterruptedEvaluation, evaluate
from concord.training.final import Final
from concord.training.job import Job
from concord.uncertainty.conformal import METHODS, label_sets, needed, threshold
from concord.uncertainty.temperature import temperature

Logits = Mapping[str, Tensor]  # (N, K) of each member
KEY = "uncertainty"  # of result.json
ROWS = 500  # samples that are tallied at once


@dataclass(frozen=True)
class SetFigures:
    """Sets of labels by one method: share of test samples whose label is in the set, mean labels in a set.

    ``threshold`` is None where the validation part is too small: every set has all labels then.
    """

    threshold: float | None
    coverage: float
    size: float


@dataclass(frozen=True)
class Sureness:
    """One member, or the ensemble. ``nll`` and ``ece`` are those of the test part after the temperature.

    ``temperature`` is None where none minimises the likelihood; nothing is scaled then.
    """

    temperature: float | None
    nll: float
    ece: float
    sets: Mapping[str, SetFigures]

    @classmethod
    def read(cls, plain: Mapping[str, Any]) -> "Sureness":
        sets = {
            method: SetFigures(
                _number_or_none(row["threshold"]), _number(row["coverage"]), _number(row["size"])
            )
            for method, row in plain["sets"].items()
        }
        return cls(_number_or_none(plain["temperature"]), _number(plain["nll"]), _number(plain["ece"]), sets)


@dataclass(frozen=True)
class Uncertainty:
    """Of all members; ``coverage`` is the wanted one, ``samples`` those of the validation part."""

    coverage: float
    samples: int
    members: Mapping[str, Sureness]
    ensemble: Sureness
    notes: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        return {**asdict(self), "notes": list(self.notes)}

    @classmethod
    def within(cls, result: Mapping[str, Any]) -> "Uncertainty | None":
        """That of a document of result.json, of older versions None; KeyError or TypeError if damaged."""
        plain = result.get(KEY)
        if plain is None:
            return None
        members = {name: Sureness.read(row) for name, row in plain["members"].items()}
        ensemble, notes = Sureness.read(plain["ensemble"]), tuple(map(str, plain["notes"]))
        return cls(_number(plain["coverage"]), int(plain["samples"]), members, ensemble, notes)

    def of(self, member: str) -> Sureness:
        return self.ensemble if member == ENSEMBLE else self.members[member]


def uncertainty_of(folder: RunFolder, result: Mapping[str, Any] | None) -> Uncertainty | None:
    """What a complete run keeps of its validation part, else None; CheckpointError if that is damaged."""
    try:
        return None if result is None else Uncertainty.within(result)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        file = folder.path / "result.json"
        raise CheckpointError(f"{file}: damaged, {KEY} is not what concord writes ({error})") from None


@dataclass(frozen=True)
class Found:
    """What the validation part gave for one member: T, and the threshold of every method (infinite: all)."""

    temperature: float | None
    thresholds: Mapping[str, float]


def found_on(logits: Logits, labels: Tensor, coverage: float) -> dict[str, Found]:
    """Of every member and of the ensemble. Shape: (N, K) of each member, (N,)"""
    u = uniform(len(labels), "valid")
    rows = {}
    for name, z in with_ensemble(logits).items():
        p = z.double().softmax(-1)
        true = {method: score(p, u)[torch.arange(len(labels)), labels] for method, score in METHODS.items()}
        limits = {method: threshold(scores, coverage) for method, scores in true.items()}
        rows[name] = Found(temperature(z, labels), limits)
    return rows


def kept_of(kept: Uncertainty) -> dict[str, Found]:
    """What a run kept of its validation part."""
    rows = {**kept.members, ENSEMBLE: kept.ensemble}
    return {
        name: Found(
            row.temperature,
            {method: inf if s.threshold is None else s.threshold for method, s in row.sets.items()},
        )
        for name, row in rows.items()
    }


def judged(
    found: Mapping[str, Found],
    logits: Logits,
    labels: Tensor,
    *,
    coverage: float,
    samples: int,
    notes: tuple[str, ...],
) -> Uncertainty:
    """Figures of a test part. Shape: (N, K) of each member, (N,)"""
    u, rows = uniform(len(labels), "test"), {}
    for name, z in with_ensemble(logits).items():
        own = found[name]
        nll, ece = calibration(z / (own.temperature or 1.0), labels)
        p, sets = z.double().softmax(-1), {}
        for method, most in own.thresholds.items():
            inside = label_sets(method, p, u, most)
            hit = inside[torch.arange(len(labels)), labels].double().mean().item()
            limit = most if isfinite(most) else None
            sets[method] = SetFigures(limit, hit, inside.sum(-1).double().mean().item())
        rows[name] = Sureness(own.temperature, nll, ece, sets)
    ensemble = rows.pop(ENSEMBLE)
    return Uncertainty(coverage, samples, rows, ensemble, notes)


def calibration(logits: Tensor, labels: Tensor) -> tuple[float, float]:
    """Negative log-likelihood and expected calibration error. Shape: (N, K), (N,)"""
    task = Classify(logits.shape[-1])
    parts = zip(logits.split(ROWS), labels.split(ROWS), strict=True)
    tally = torch.stack([task.tally([z], [y]) for z, y in parts]).sum(0)
    figures = task.scores(tally, ["one"]).members["one"]
    return figures.nll, figures.ece


def notes_of(found: Mapping[str, Found], train: Train, samples: int) -> tuple[str, ...]:
    """What a reader of these figures has to know of the validation part."""
    notes = []
    if train.patience is not None:
        notes.append(
            "the validation part also chose the epoch (train.patience), so that coverage may fall a little"
            " short of what is wanted"
        )
    if samples < (least := needed(train.coverage)):
        notes.append(
            f"{samples} validation images are too few for a coverage of {train.coverage:g}: every set has all"
            f" labels. Use at least {least:,}, with a larger data.valid, or a smaller train.coverage"
        )
    unscaled = [name for name, row in found.items() if row.temperature is None]
    if unscaled:
        notes.append(
            f"{', '.join(unscaled)}: no temperature is the best one, because every validation image is"
            " labelled rightly, or the logits do not rise with the label; nothing is scaled"
        )
    return tuple(notes)


def measured(job: Job[ClassScores], done: Final[ClassScores], train: Train) -> Uncertainty | None:
    """Of a training that has just ended, whose members have the weights that it stands for.

    None without a validation part, or where the task is not concord's ``Classify``. Raises StoppedError when
    the job's ``stop`` says so.
    """
    if not job.feed.has_valid or type(job.task) is not Classify or done.targets is None:
        return None
    try:
        valid = evaluate(job.members, job.feed.valid(), job.task, keep=True, stop=job.stop)
    except InterruptedEvaluation:
        raise StoppedError(job.store.stopped(job.store.lines()[-1]["step"])) from None
    if valid.targets is None:
        return None
    logits = {name: valid.predictions[name]["logits"] for name in job.members}
    found = found_on(logits, named(valid.targets), train.coverage)
    return judged(
        found,
        {name: done.predictions[name]["logits"] for name in job.members},
        named(done.targets),
        coverage=train.coverage,
        samples=len(valid.targets),
        notes=notes_of(found, train, len(valid.targets)),
    )


def named(targets: Tensor) -> Tensor:
    """Labels; of shares of classes the largest. Shape: (N,) or (N, K) -> (N,)"""
    return targets if targets.ndim == 1 else targets.argmax(-1)


def with_ensemble(logits: Logits) -> dict[str, Tensor]:
    return {**logits, ENSEMBLE: ensemble_logits(list(logits.values()))}


def uniform(n: int, part: str) -> Tensor:
    """A number of [0, 1) for each sample of a part, always the same ones. Shape: -> (n,) float64"""
    return torch.from_numpy(draws.uniform(np.arange(n), "label sets", part))


def _number(value: Any) -> float:
    """TypeError unless it is a finite number."""
    if not isinstance(value, int | float) or isinstance(value, bool) or not isfinite(value):
        raise TypeError(f"{value!r} is not a number")
    return value


def _number_or_none(value: Any) -> float | None:
    return None if value is None else _number(value)

"""From a name or a path to training, validation and test sequences."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import torch

from concord.data import draws
from concord.data.dataset import Dataset
from concord.data.sequences.files import Known, Listed, read
from concord.data.sequences.named import NAMED, made
from concord.data.sequences.samples import Scale, Sequences
from concord.data.sequences.streams import Streams
from concord.data.sequences.text import Windows, characters, encoded, read_text, windows_of
from concord.data.splits import cut_labels
from concord.errors import DataError, MissingDataError, UsageError, amount, suggestion
from concord.files.paths import expanded
from concord.files.text import printable

SequenceTask = Literal["sequence", "segments", "language", "ctc"]
WINDOW = 128  # characters of a text in one sample
SUFFIXES = (".csv", ".jsonl", ".ndjson")


@dataclass(frozen=True, eq=False)
class Parts:
    """``valid`` and ``test`` are None where nothing was cut off. ``own_test``: the source has one itself."""

    train: Dataset
    valid: Dataset | None
    test: Dataset | None
    known: Known
    scale: Scale | None = None
    own_test: bool = False


@dataclass(frozen=True)
class Wanted:
    """What is asked of a source, as in the tables of a settings file."""

    source: str
    task: SequenceTask
    valid: float = 0.1
    test: float = 0.2
    seed: int = 0
    limit: int | None = None  # most sequences to train on
    window: int = WINDOW
    streams: int | None = None  # of a text that is read side by side


def load(wanted: Wanted, known: Known | None = None, scale: Scale | None = None) -> Parts:
    """The parts of a source; ``known`` and ``scale`` are those of an earlier training.

    Raises DataError that names file and line, UsageError for a source of another task.
    """
    if wanted.source in NAMED:
        if NAMED[wanted.source].task != wanted.task:
            fits = ", ".join(name for name, other in NAMED.items() if other.task == wanted.task)
            raise UsageError(
                f"{wanted.source} is a set for the task {NAMED[wanted.source].task}, not for {wanted.task}"
                + (f"; for that there are {fits}" if fits else "")
            )
        parts = _cut(made(wanted.source, wanted.seed), wanted, scale)
        if known not in (None, parts.known):
            raise DataError(f"{wanted.source} has other characters or classes than the training")
        return parts
    path = expanded(wanted.source)
    if not path.exists():
        near = suggestion(wanted.source, NAMED)
        raise MissingDataError(
            f"{printable(path)} does not exist{near}; data are a file, a folder, or one of {', '.join(NAMED)}"
        )
    if wanted.task == "language":
        return _text(path, wanted, known)
    return _labelled(path, wanted, known, scale)


def _text(path: Path, wanted: Wanted, known: Known | None) -> Parts:
    if path.is_dir() or path.suffix.lower() in SUFFIXES:
        raise DataError(f"{printable(path)}: the task language takes a file of text")
    text = read_text(path)
    if known is None:
        if len(set(text)) < 2:
            raise DataError(f"{printable(path)}: its characters are all alike; nothing can be learned")
        cut = characters(text, wanted.window, valid=wanted.valid, test=wanted.test)
        alphabet = cut.train.alphabet
    else:
        alphabet = known.alphabet
        try:
            symbols = encoded(text, alphabet)
        except DataError as error:
            raise DataError(f"{printable(path)}: {error}") from None
        cut = windows_of(symbols, alphabet, wanted.window, valid=wanted.valid, test=wanted.test)
    train = cut.train
    if wanted.limit is not None and wanted.limit < len(train):
        train = replace(train, symbols=train.symbols[: wanted.limit * wanted.window + 1])
    read = [_read(part, wanted) if len(part) else None for part in (train, cut.valid, cut.test)]
    assert read[0] is not None
    return Parts(read[0], read[1], read[2], Known(alphabet, alphabet))


def _read(part: Windows, wanted: Wanted) -> Dataset:
    """Windows, or streams where these are asked for."""
    if wanted.streams is None:
        return part
    return Streams(part.symbols, part.alphabet, wanted.window, wanted.streams)


def _labelled(path: Path, wanted: Wanted, known: Known | None, scale: Scale | None) -> Parts:
    labels: Literal["free", "placed"] = "free" if wanted.task == "ctc" else "placed"
    train, test = _places(path)
    listed = read(train, known=known, labels=labels)
    _require_labels(listed, wanted.task, train)
    if test is None:
        return _cut(listed, wanted, scale)
    trained = known or Known(listed.alphabet, listed.classes)
    own = read(test, known=trained, labels=labels)
    _require_labels(own, wanted.task, test)
    parts = _cut(listed, replace(wanted, test=0.0), scale)
    return replace(parts, test=Sequences(own, wanted.task == "ctc", parts.scale), own_test=True)


def _places(path: Path) -> tuple[Path, Path | None]:
    """The training part and the test part of a folder that has both; else the path itself."""
    for name in ("", *SUFFIXES):
        train, test = path / f"train{name}", path / f"test{name}"
        if train.exists() and test.exists():
            return train, test
    return path, None


def _require_labels(listed: Listed, task: str, path: Path) -> None:
    """DataError for labels of another task, and for fewer classes than can be told apart."""
    if len(listed.classes) < (1 if task == "ctc" else 2):
        only = ", ".join(map(repr, listed.classes)) or "none"
        raise DataError(
            f"{printable(path)}: its labels are all alike ({printable(only)}); nothing can be learned"
        )
    several = listed.problem.y.ndim == 2
    if several == (task == "sequence"):
        other = (
            "a list of labels for each: train with the task segments or ctc"
            if several
            else ("one label for each: train with the task sequence, or give a list of labels")
        )
        raise DataError(f"{printable(path)}: its sequences have {other}")


def _cut(listed: Listed, wanted: Wanted, scale: Scale | None) -> Parts:
    """Test, then validation, cut off at random as a function of the seed; of labels by class."""
    whole = Sequences(listed, wanted.task == "ctc")
    rest = torch.arange(len(whole))
    taken = {}
    for name, share in (("test", wanted.test), ("valid", wanted.valid)):
        count = round(share * len(rest)) or int(share > 0)
        stay, gone = _drawn(listed.problem.y[rest], count, name, wanted.seed)
        if count and not (len(stay) and len(gone)):  # a class never gives its last sequence
            raise DataError(
                f"{wanted.source} has {amount(len(whole), 'sequence')}: too few to cut"
                f" data.{name}={share:g} off"
            )
        taken[name], rest = rest[gone], rest[stay]
    if wanted.limit is not None and wanted.limit < len(rest):
        rest = rest[_drawn(listed.problem.y[rest], wanted.limit, "limit", wanted.seed)[1]]
    train = whole.some(rest)
    problem = train.listed.problem
    if problem.x.is_floating_point():
        scale = scale or Scale.of(problem.x, problem.lengths)
    whole, train = replace(whole, scale=scale), replace(train, scale=scale)
    valid, test = (whole.some(taken[name]) if len(taken[name]) else None for name in ("valid", "test"))
    return Parts(train, valid, test, whole.known, scale)


def _drawn(y: torch.Tensor, count: int, name: str, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Numbers of those that stay and of ``count`` that are taken, each ascending."""
    if y.ndim == 1:
        return cut_labels(y, count, name, seed)
    order = torch.from_numpy(draws.permutation(len(y), name, seed))
    return order[count:].sort().values, order[:count].sort().values

"""What a run says of sequences: labels of each, of every step, or read out of it; the next character."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import exp, log
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from concord.consensus.names import ENSEMBLE
from concord.data.images.files import matches
from concord.data.sequences.files import listed
from concord.data.sequences.rows import Row, rows_of
from concord.errors import DataError, UsageError
from concord.files.paths import expanded
from concord.files.text import printable
from concord.runs.machine import settled
from concord.runs.sequences.interface import readable
from concord.runs.sequences.loading import LoadedSequences, load_run
from concord.tasks.ctc import Labelling
from concord.tasks.decode import prefix_beam
from concord.training.observer import SILENT, Observer

BATCH = 64
ONE_LABEL = ("sequence", "language")
TYPED = "text"  # what a sequence that was given as a text is called


@dataclass(frozen=True)
class SequencePrediction:
    """What a run says of one sequence; ``error`` says why it could not be read, the rest is None then.

    ``label`` is the class, the labels of all steps, the labels that were found without places, or the next
    character; ``confidence`` its probability, of labels for every step the mean of theirs.
    """

    file: str
    label: str | None = None
    confidence: float | None = None
    error: str | None = None
    labels: tuple[str, ...] | None = None
    bits: float | None = None  # per character, of a text
    top: tuple[tuple[str, float], ...] = ()
    probabilities: Mapping[str, float] | None = None

    def to_dict(self) -> dict[str, Any]:
        """A row of ``concord predict --json``."""
        row: dict[str, Any] = {"file": self.file, "label": self.label, "confidence": self.confidence}
        more = {"error": self.error, "labels": self.labels, "bits": self.bits}
        row |= {key: value for key, value in more.items() if value is not None}
        if self.top:
            row["top"] = [{"label": label, "confidence": share} for label, share in self.top]
        return row if self.probabilities is None else {**row, "probabilities": dict(self.probabilities)}


@dataclass(frozen=True)
class Asked:
    """Of which member, and how much of what it says."""

    member: str = ENSEMBLE
    top: int = 1
    probabilities: bool = False


def predict(
    run: Path,
    files: Sequence[str],
    *,
    texts: str | Sequence[str] = (),
    asked: Asked = Asked(),
    allow_code: Collection[str] = (),
    observer: Observer = SILENT,
) -> list[SequencePrediction]:
    """A row for every sequence of .csv and .jsonl files, text files and folders, and for ``texts``.

    Sequences stand there without labels, or in JSON lines with labels that are not looked at. What cannot be
    read has an ``error``.
    """
    if asked.top < 1:
        raise UsageError(f"top must be at least 1, got {asked.top}")
    loaded = load_run(run, member=asked.member, allow_code=allow_code, observer=observer)
    task = loaded.interface.task
    if task not in ONE_LABEL and (asked.top > 1 or asked.probabilities):
        raise UsageError(f"top and probabilities are of one label; the task {task} gives several")
    texts_asked = bool(loaded.interface.known.alphabet)
    rows = [row for file in files for row in _rows_of(file, texts_asked)]
    given = [texts] if isinstance(texts, str) else texts
    rows += [Row(text, "", f"{TYPED} {k}") for k, text in enumerate(given, 1)]
    found: list[SequencePrediction] = []
    with settled(loaded.config):
        for start in range(0, len(rows), BATCH):
            found += _some(loaded, rows[start : start + BATCH], asked)
            observer.counted(len(found), len(rows))
    return found


def _rows_of(file: str, text: bool) -> list[Row | SequencePrediction]:
    """The sequences of one argument, of texts or of numbers, or a row with the error."""
    path = expanded(file)
    try:
        if not (paths := [path] if path.exists() else matches(path)):
            raise DataError(f"{printable(file)} does not exist")
        if not (rows := [row for each in paths for row in rows_of(each, "none", text)]):
            raise DataError(f"{printable(file)} holds no {'.txt file' if path.is_dir() else 'sequence'}")
    except (OSError, ValueError) as error:  # an impossible name or pattern among them
        return [SequencePrediction(file, error=str(error))]
    return [*rows]


def _some(
    loaded: LoadedSequences, rows: Sequence[Row | SequencePrediction], asked: Asked
) -> Iterator[SequencePrediction]:
    """Predictions for these rows in their order; errors stay what they are."""
    answers = iter(_answers(loaded, [row for row in rows if isinstance(row, Row)], asked))
    return (next(answers) if isinstance(row, Row) else row for row in rows)


def _answers(loaded: LoadedSequences, rows: Sequence[Row], asked: Asked) -> list[SequencePrediction]:
    """Together if all can be read, else one after the other."""
    if not rows:
        return []
    try:
        data = readable(listed(rows, known=loaded.interface.known, labels="none"), loaded.interface)
    except DataError as error:
        if len(rows) > 1:
            return [answer for row in rows for answer in _answers(loaded, [row], asked)]
        return [SequencePrediction(rows[0].where, error=str(error))]
    x, lengths = data.inputs(torch.arange(len(data)))
    logits = loaded.logits((x, lengths) if loaded.interface.lengths else x, asked.member)
    say = {"segments": _segments, "ctc": _labelling, "language": _next}.get(loaded.interface.task)
    found = []
    for i, length in enumerate(lengths.tolist()):
        one = logits[i] if say is None else logits[i, :length]
        row = _class(loaded, one, asked) if say is None else say(loaded, one, x[i, :length], asked)
        found.append(replace(row, file=rows[i].where))
    return found


def _class(loaded: LoadedSequences, logits: Tensor, asked: Asked) -> SequencePrediction:
    """The likeliest class. Shape: (K,)"""
    classes, shares = loaded.interface.known.classes, logits.softmax(-1)
    best = shares.topk(min(asked.top, len(classes)))
    ranked = tuple((classes[k], p) for k, p in zip(best.indices.tolist(), best.values.tolist(), strict=True))
    whole = dict(zip(classes, shares.tolist(), strict=True)) if asked.probabilities else None
    top = ranked if asked.top > 1 else ()
    return SequencePrediction("", *ranked[0], top=top, probabilities=whole)


def _segments(loaded: LoadedSequences, logits: Tensor, x: Tensor, asked: Asked) -> SequencePrediction:
    """The likeliest class of every step. Shape: (T, K)"""
    best = logits.softmax(-1).max(-1)
    labels = tuple(loaded.interface.known.classes[k] for k in best.indices.tolist())
    return SequencePrediction("", in_words(labels), best.values.mean().item(), labels=labels)


def _labelling(loaded: LoadedSequences, logits: Tensor, x: Tensor, asked: Asked) -> SequencePrediction:
    """The likeliest labelling and the probability of all its paths. Shape: (T, K)"""
    steps = torch.tensor([len(logits)])
    (found,) = prefix_beam(logits[None], steps)
    target = {"labels": torch.tensor([found], dtype=torch.int64), "steps": steps}
    nats = Labelling(loaded.interface.outputs).loss(logits[None], target).item()
    labels = tuple(loaded.interface.known.classes[k - 1] for k in found)
    return SequencePrediction("", in_words(labels), exp(-nats), labels=labels)


def _next(loaded: LoadedSequences, logits: Tensor, x: Tensor, asked: Asked) -> SequencePrediction:
    """The likeliest next character, and the bits of each that is there. Shape: (T, K), (T,)"""
    row = _class(loaded, logits[-1], asked)
    if len(x) < 2:
        return row
    return replace(row, bits=F.cross_entropy(logits[:-1], x[1:]).item() / log(2))


def in_words(labels: Sequence[str]) -> str:
    """Single characters as one word, others with spaces between."""
    return ("" if all(len(label) == 1 for label in labels) else " ").join(labels)

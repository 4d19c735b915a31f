"""A user's own sequences as tensors, see ``rows`` for how they are written."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from concord.data.sequences.padded import NOTHING, Problem, padded
from concord.data.sequences.rows import Labels, Row, number_in, rows_of
from concord.data.sequences.text import encoded
from concord.errors import DataError, suggestion
from concord.files.text import counted, printable


@dataclass(frozen=True)
class Listed:
    """All sequences of a file or folder as tensors.

    ``problem.y`` (N,), or (N, L) where a sequence has several labels, -1 behind the last. ``alphabet`` are
    the characters of texts, () of numbers.
    """

    problem: Problem
    classes: tuple[str, ...]
    alphabet: tuple[str, ...]
    names: tuple[str, ...]


@dataclass(frozen=True)
class Known:
    """The characters and classes of a training, which other sequences must have too."""

    alphabet: tuple[str, ...]
    classes: tuple[str, ...]


def read(path: Path, *, known: Known | None = None, labels: Labels = "placed") -> Listed:
    """The sequences of a .csv or .jsonl file or of a folder; DataError with file and line.

    A list of labels has one for each step where they are ``placed``, "free" ones are any number; with "none"
    CSV has no column of labels, and those of JSON lines are passed over. Characters and classes that are not
    among the ``known`` ones are refused.
    """
    rows = rows_of(path, labels, None if known is None else bool(known.alphabet))
    if not rows:
        raise DataError(f"{printable(path)} holds no sequence")
    return listed(rows, known=known, labels=labels)


def listed(rows: Sequence[Row], *, known: Known | None = None, labels: Labels = "placed") -> Listed:
    """Sequences as tensors; DataError for those that differ in kind, and for what is not ``known``."""
    first = rows[0]
    for row in rows:
        if not row.x:
            raise DataError(f"{row.where}: the sequence is empty")
        for what, one, other in (("sequence", row.x, first.x), ("label", row.y, first.y)):
            if type(one) is not type(other):
                texts = what == "sequence"
                said = {str: "text" if texts else "one for all", list: "numbers" if texts else "a list"}
                here, there = said[type(one)], said[type(other)]
                raise DataError(f"{row.where}: the {what} is {here}, in {first.where} it is {there}")
        if labels == "placed" and isinstance(row.y, list) and len(row.y) != len(row.x):
            given = f"{counted(len(row.y), 'label')} for {counted(len(row.x), 'step')}"
            raise DataError(
                f"{row.where}: {given}; a list has one for each step, with the task ctc any number"
            )
    if known and isinstance(first.x, str) != bool(known.alphabet):
        wanted, given = ("text", "numbers") if known.alphabet else ("numbers", "text")
        raise DataError(f"{first.where}: expected {wanted}, as the training had, got {given}")
    lengths = torch.tensor([len(row.x) for row in rows])
    x, alphabet = _texts(rows, known) if isinstance(first.x, str) else (_numbers(rows), ())
    y, classes = (
        _targets(rows, known) if labels != "none" else (torch.zeros(len(rows), dtype=torch.int64), ())
    )
    return Listed(Problem(x, lengths, y), classes, alphabet, tuple(row.where for row in rows))


def _targets(rows: Sequence[Row], known: Known | None) -> tuple[Tensor, tuple[str, ...]]:
    """Shape: -> (N,), or (N, L) of several labels, -1 behind the last"""
    named = [row.y if isinstance(row.y, list) else [row.y] for row in rows]
    found = sorted({label for labels in named for label in labels}, key=_natural)
    classes = known.classes if known else tuple(found)
    number = {label: k for k, label in enumerate(classes)}
    for row, labels in zip(rows, named, strict=True):
        strange = next((label for label in labels if label not in number), None)
        if strange is not None:
            raise DataError(
                f"{row.where}: label {printable(strange)!r} is not among the classes of the training"
                f"{suggestion(strange, classes)}"
            )
    y = padded([[number[label] for label in labels] for labels in named], NOTHING)
    return (y if isinstance(rows[0].y, list) else y[:, 0]), classes


def _texts(rows: Sequence[Row], known: Known | None) -> tuple[Tensor, tuple[str, ...]]:
    texts = [row.x for row in rows if isinstance(row.x, str)]
    alphabet = known.alphabet if known else tuple(sorted(set("".join(texts))))
    found = []
    for row, text in zip(rows, texts, strict=True):
        try:
            found.append(encoded(text, alphabet).tolist())
        except DataError as error:
            raise DataError(f"{row.where}: {error}") from None
    return padded(found, 0), alphabet


def _numbers(rows: Sequence[Row]) -> Tensor:
    """Shape: -> (N, T, D), 0 behind an end"""
    sequences = [torch.tensor(row.x, dtype=torch.float32) for row in rows]
    width = sequences[0].shape[1]
    for row, sequence in zip(rows, sequences, strict=True):
        if sequence.shape[1] != width:
            first, here = rows[0].where, sequence.shape[1]
            raise DataError(f"{row.where}: {here} numbers for each step, in {first} there are {width}")
    return torch.nn.utils.rnn.pad_sequence(sequences, batch_first=True)


def _natural(label: str) -> tuple[bool, float, str]:
    number = number_in(label)
    return (number is None, 0.0 if number is None else number, label)

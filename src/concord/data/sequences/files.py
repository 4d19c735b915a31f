"""A user's own sequences: one per line of a CSV or JSON-lines file, or one per text file of a folder.

CSV: ``label,value,value,...`` of numbers, lines of any length; or ``label,text`` with any characters.
JSON lines: ``{"x": [...] or "text", "y": label or [label, ...]}``; x may hold lists of equal length, one for
each step. A folder holds one folder for each class, with a text file for each sequence.
"""

import csv
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from concord.data.sequences.padded import NOTHING, Problem, padded
from concord.data.sequences.text import encoded, read_text
from concord.errors import DataError
from concord.files.text import printable


@dataclass(frozen=True)
class Row:
    """One sequence: text or numbers (T, D), a label or one for each step, and where it stands."""

    x: str | list[list[float]]
    y: str | list[str]
    where: str


@dataclass(frozen=True)
class Listed:
    """All sequences of a file or folder as tensors.

    ``problem.y`` (N,), or (N, T) where every step has a label. ``alphabet`` are the characters of texts, ()
    of numbers.
    """

    problem: Problem
    classes: tuple[str, ...]
    alphabet: tuple[str, ...]
    names: tuple[str, ...]


def read(path: Path) -> Listed:
    """The sequences of a .csv or .jsonl file or of a folder; DataError with file and line."""
    if path.is_dir():
        rows = list(_of_folder(path))
    elif path.suffix.lower() in (".jsonl", ".ndjson"):
        rows = list(_of_json(path))
    elif path.suffix.lower() == ".csv":
        rows = list(_of_csv(path))
    else:
        raise DataError(
            f"{printable(path)}: expected a .csv or .jsonl file, or a folder with a folder of texts for each"
            " class"
        )
    if not rows:
        raise DataError(f"{printable(path)} holds no sequence")
    return _listed(rows)


def _of_csv(path: Path) -> Iterator[Row]:
    text = read_text(path)
    lines = csv.reader(text.splitlines(keepends=True))
    for fields in _parsed(lines, path):
        where = f"{printable(path)}, line {lines.line_num}"
        if not fields or all(not field.strip() for field in fields):
            continue
        label, *values = (field.strip() for field in fields)
        if not label:
            raise DataError(f"{where}: the label is missing; expected label,value,value,...")
        if not any(values):
            raise DataError(f"{where}: label {printable(label)!r} has no sequence behind it")
        numbers = [_number(value) for value in values]
        if None not in numbers:
            yield Row([[number] for number in numbers if number is not None], label, where)
        elif len(values) == 1:
            yield Row(values[0], label, where)
        else:
            k = numbers.index(None)
            raise DataError(f"{where}: value {k + 1} is {printable(values[k])!r}, expected a number")


def _parsed(lines: Any, path: Path) -> Iterator[list[str]]:
    try:
        yield from lines
    except csv.Error as error:
        raise DataError(f"{printable(path)}, line {lines.line_num}: not CSV ({error})") from None


def _of_json(path: Path) -> Iterator[Row]:
    for number, line in enumerate(read_text(path).splitlines(), 1):
        where = f"{printable(path)}, line {number}"
        if not line.strip():
            continue
        try:
            given = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise DataError(f"{where}: not JSON ({error})") from None
        if not isinstance(given, dict) or not {"x", "y"} <= given.keys():
            raise DataError(f'{where}: expected {{"x": sequence, "y": label}}')
        yield Row(_sequence(given["x"], where), _labels(given["y"], where), where)


def _of_folder(path: Path) -> Iterator[Row]:
    places = sorted(place for place in path.iterdir() if place.is_dir() and not place.name.startswith("."))
    if len(places) < 2:
        raise DataError(
            f"{printable(path)}: expected a folder for each of at least 2 classes, got {len(places)}"
        )
    for place in places:
        for file in sorted(place.glob("*.txt")):
            yield Row(read_text(file), place.name, printable(file))


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _is_finite(number: float) -> bool:
    try:
        return math.isfinite(number)
    except OverflowError:  # a whole number beyond all floats
        return False


def _sequence(x: Any, where: str) -> str | list[list[float]]:
    if isinstance(x, str) and x:
        return x
    if not isinstance(x, list) or not x:
        raise DataError(f"{where}: x is text or a list of numbers with at least one step")
    steps = [step if isinstance(step, list) else [step] for step in x]
    for t, step in enumerate(steps):
        if len(step) != len(steps[0]) or not step:
            raise DataError(f"{where}: step {t + 1} has {len(step)} numbers, the first has {len(steps[0])}")
        for number in step:
            if isinstance(number, bool) or not isinstance(number, int | float) or not _is_finite(number):
                raise DataError(f"{where}: step {t + 1} has {printable(number)!r}, expected a number")
    return [[float(number) for number in step] for step in steps]


def _labels(y: Any, where: str) -> str | list[str]:
    listed = y if isinstance(y, list) else [y]
    for label in listed:
        if isinstance(label, bool | float) or not isinstance(label, str | int):
            raise DataError(f"{where}: a label is text or a whole number, got {printable(label)!r}")
    return [str(label) for label in listed] if isinstance(y, list) else str(y)


def _listed(rows: Sequence[Row]) -> Listed:
    first = rows[0]
    for row in rows:
        for what, one, other in (("sequence", row.x, first.x), ("label", row.y, first.y)):
            if type(one) is not type(other):
                said = {str: "text" if what == "sequence" else "one for all", list: "a list"}
                here, there = said[type(one)], said[type(other)]
                raise DataError(f"{row.where}: the {what} is {here}, in {first.where} it is {there}")
        if isinstance(row.y, list) and len(row.y) != len(row.x):
            raise DataError(f"{row.where}: {len(row.y)} labels for {len(row.x)} steps")
    lengths = torch.tensor([len(row.x) for row in rows])
    x, alphabet = _texts(rows) if isinstance(first.x, str) else (_numbers(rows), ())
    named = [row.y if isinstance(row.y, list) else [row.y] for row in rows]
    classes = tuple(sorted({label for labels in named for label in labels}, key=_natural))
    number = {label: k for k, label in enumerate(classes)}
    y = padded([[number[label] for label in labels] for labels in named], NOTHING)
    y = y if isinstance(first.y, list) else y[:, 0]
    return Listed(Problem(x, lengths, y), classes, alphabet, tuple(row.where for row in rows))


def _texts(rows: Sequence[Row]) -> tuple[Tensor, tuple[str, ...]]:
    texts = [row.x for row in rows if isinstance(row.x, str)]
    alphabet = tuple(sorted(set("".join(texts))))
    return padded([encoded(text, alphabet).tolist() for text in texts], 0), alphabet


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
    number = _number(label)
    return (number is None, 0.0 if number is None else number, label)

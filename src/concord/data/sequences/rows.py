"""A user's own sequences as they are written: one per line of a file, or one per text file of a folder.

CSV: ``label,value,value,...`` of numbers, lines of any length; or ``label,text`` with any characters.
JSON lines: ``{"x": [...] or "text", "y": label or [label, ...]}``; x may hold lists of equal length, one for
each step; a list of labels has one for each step, or is what temporal classification is to find. A folder
holds one folder for each class, with a text file for each sequence.
"""

import csv
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from concord.data.sequences.text import read_text
from concord.errors import DataError
from concord.files.text import printable

Labels = Literal["placed", "free", "none"]  # one for each step, any number, not looked at
JSON_LINES = (".jsonl", ".ndjson")


@dataclass(frozen=True)
class Row:
    """One sequence: text or numbers (T, D), a label or several, and where it stands."""

    x: str | list[list[float]]
    y: str | list[str]
    where: str


def rows_of(path: Path, labels: Labels) -> list[Row]:
    """The sequences of a file or folder as they are written."""
    suffix = path.suffix.lower()
    if path.is_dir():
        return list(_of_folder(path, labels))
    if suffix in JSON_LINES:
        return list(_of_json(path, labels))
    if suffix == ".csv":
        return list(_of_csv(path, labels))
    if suffix == ".txt" and labels == "none":
        return [Row(read_text(path), "", printable(path))]
    raise DataError(
        f"{printable(path)}: expected a .csv or .jsonl file, or a folder with a folder of texts for each"
        " class"
    )


def _of_csv(path: Path, labels: Labels) -> Iterator[Row]:
    text = read_text(path)
    lines = csv.reader(text.splitlines(keepends=True))
    for fields in _parsed(lines, path):
        where = f"{printable(path)}, line {lines.line_num}"
        if not fields or all(not field.strip() for field in fields):
            continue
        label, *values = (field.strip() for field in (["-", *fields] if labels == "none" else fields))
        if not label:
            raise DataError(f"{where}: the label is missing; expected label,value,value,...")
        if not any(values):
            raise DataError(f"{where}: label {printable(label)!r} has no sequence behind it")
        numbers = [number_in(value) for value in values]
        if None not in numbers:
            yield Row([[number] for number in numbers if number is not None], label, where)
        elif len(values) == 1:
            yield Row(values[0], label, where)
        else:
            k = numbers.index(None)
            cure = "; sequences to predict have no column of labels" if labels == "none" and not k else ""
            raise DataError(f"{where}: value {k + 1} is {printable(values[k])!r}, expected a number{cure}")


def _parsed(lines: Any, path: Path) -> Iterator[list[str]]:
    try:
        yield from lines
    except csv.Error as error:
        raise DataError(f"{printable(path)}, line {lines.line_num}: not CSV ({error})") from None


def _of_json(path: Path, labels: Labels) -> Iterator[Row]:
    for number, line in enumerate(read_text(path).splitlines(), 1):
        where = f"{printable(path)}, line {number}"
        if not line.strip():
            continue
        try:
            given = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise DataError(f"{where}: not JSON ({error})") from None
        needed, form = ({"x"}, "") if labels == "none" else ({"x", "y"}, ', "y": label')
        if not isinstance(given, dict) or not needed <= given.keys():
            raise DataError(f'{where}: expected {{"x": sequence{form}}}')
        yield Row(_sequence(given["x"], where), "" if labels == "none" else _labels(given["y"], where), where)


def _of_folder(path: Path, labels: Labels) -> Iterator[Row]:
    if labels == "none":
        for file in sorted(path.rglob("*.txt")):
            yield Row(read_text(file), "", printable(file))
        return
    places = sorted(place for place in path.iterdir() if place.is_dir() and not place.name.startswith("."))
    if len(places) < 2:
        raise DataError(
            f"{printable(path)}: expected a folder for each of at least 2 classes, got {len(places)}"
        )
    for place in places:
        for file in sorted(place.glob("*.txt")):
            yield Row(read_text(file), place.name, printable(file))


def number_in(text: str) -> float | None:
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

"""A user's own sequences as they are written: one per line of a file, or one per text file of a folder.

CSV: ``label,value,value,...`` of numbers, lines of any length; or ``label,text`` with any characters, which
every file is that has one value behind each label. JSON lines: ``{"x": [...] or "text", "y": label or
[label, ...]}``; x may hold lists of equal length, one for each step; a list of labels has one for each step,
or is what temporal classification is to find. A folder holds one folder for each class, with a .txt file for
each sequence.
"""

import csv
import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from concord.data.sequences.text import LARGEST, read_text
from concord.errors import DataError
from concord.files.text import printable

Labels = Literal["placed", "free", "none"]  # one for each step, any number, not looked at
JSON_LINES = (".jsonl", ".ndjson")
HEADERS = ("label", "labels", "class", "target", "category", "y")
MOST = 1e30  # in size, so that float32 holds differences and sums too
NUMBER = f"expected a number from -{MOST:g} to {MOST:g}"


@dataclass(frozen=True)
class Row:
    """One sequence: text or numbers (T, D), a label or several, and where it stands."""

    x: str | list[list[float]]
    y: str | list[str]
    where: str


def rows_of(path: Path, labels: Labels, text: bool | None = None) -> list[Row]:
    """The sequences of a file or folder as they are written; ``text``: whether CSV holds it, if known."""
    suffix = path.suffix.lower()
    if path.is_dir():
        rows = list(_of_folder(path, labels))
    elif suffix in JSON_LINES:
        rows = list(_of_json(path, labels))
    elif suffix == ".csv":
        rows = list(_of_csv(path, labels, text))
    elif suffix == ".txt" and labels == "none":
        rows = [Row(read_text(path), "", printable(path))]
    else:
        raise DataError(
            f"{printable(path)}: expected a .csv or .jsonl file, or a folder with a folder of texts for each"
            " class"
        )
    for row in rows:
        _require_sound(row, labels)
    return rows


def _require_sound(row: Row, labels: Labels) -> None:
    """DataError for an empty label, and for half a character, which no file can hold."""
    named = row.y if isinstance(row.y, list) else [row.y]
    if labels != "none" and not all(label.strip() for label in named):
        raise DataError(f"{row.where}: a label is empty; give every class a name")
    for given in (*named, row.x):
        try:
            str(given if isinstance(given, str) else "").encode()
        except UnicodeEncodeError as error:
            half = printable(given[error.start])
            raise DataError(f"{row.where}: {half} is half of a character; write both of its parts") from None


def _of_csv(path: Path, labels: Labels, text: bool | None) -> Iterator[Row]:
    lines = [(where, fields if labels != "none" else ["-", *fields]) for where, fields in _fields_of(path)]
    for where, (label, *values) in lines:
        if not label:
            raise DataError(f"{where}: the label is missing; expected label,value,value,...")
        if not any(values):
            raise DataError(f"{where}: label {printable(label)!r} has no sequence behind it")
    if labels != "none":
        _refuse_header(lines)
    written = _is_text(lines) if text is None else text
    cure = "; sequences to predict have no column of labels" if labels == "none" else ""
    for where, (label, *values) in lines:
        if not written:
            yield Row(_numbers(values, where, cure), label, where)
        elif len(values) == 1:
            yield Row(values[0], label, where)
        else:
            many = f"{len(values)} values, expected one text; quote a text that has commas"
            raise DataError(f"{where}: {many}{cure}")


def _fields_of(path: Path) -> Iterator[tuple[str, list[str]]]:
    """The fields of every line that is not blank, and its place; DataError for what is not CSV."""
    lines = csv.reader(io.StringIO(read_text(path), newline=""))
    before = csv.field_size_limit(LARGEST)
    try:
        for fields in lines:
            if any(field.strip() for field in fields):
                yield f"{printable(path)}, line {lines.line_num}", [field.strip() for field in fields]
    except csv.Error as error:
        raise DataError(f"{printable(path)}, line {lines.line_num}: not CSV ({error})") from None
    finally:
        csv.field_size_limit(before)


def _refuse_header(lines: Sequence[tuple[str, list[str]]]) -> None:
    """DataError for a first line that names columns."""
    (where, (label, *values)), *others = lines or [("", [""])]
    named = label.lower() in HEADERS and all(label != fields[0] for _, fields in others)
    words = len(values) > 1 and all(number_in(value) is None for value in values)
    if named or (words and others and all(number_in(fields[1]) is not None for _, fields in others)):
        raise DataError(f"{where} names columns; remove it, for every line is one sequence")


def _is_text(lines: Sequence[tuple[str, list[str]]]) -> bool:
    """Whether every line has one value, or several that begin with a word, as a text with commas does."""
    return all(len(fields) == 2 or number_in(fields[1]) is None for _, fields in lines)


def _numbers(values: Sequence[str], where: str, cure: str) -> list[list[float]]:
    found = []
    for k, value in enumerate(values):
        if (number := number_in(value)) is None:
            raise DataError(f"{where}: value {k + 1} is {printable(value)!r}, {NUMBER}{'' if k else cure}")
        found.append([number])
    return found


def _of_json(path: Path, labels: Labels) -> Iterator[Row]:
    for number, line in enumerate(io.StringIO(read_text(path), newline=None), 1):
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
        for file in _texts_in(path, "**/*"):
            yield Row(read_text(file), "", printable(file))
        return
    places = sorted(place for place in path.iterdir() if place.is_dir() and not place.name.startswith("."))
    if len(places) < 2:
        raise DataError(
            f"{printable(path)}: expected a folder for each of at least 2 classes, got {len(places)}"
        )
    for place in places:
        if not (files := _texts_in(place, "*")):
            raise DataError(f"{printable(place)} holds no .txt file; a class needs texts")
        for file in files:
            yield Row(read_text(file), place.name, printable(file))


def _texts_in(path: Path, pattern: str) -> list[Path]:
    return sorted(
        file for file in path.glob(pattern) if file.suffix.lower() == ".txt" and not file.name.startswith(".")
    )


def number_in(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if abs(number) <= MOST else None


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
            if isinstance(number, bool) or not isinstance(number, int | float) or not abs(number) <= MOST:
                raise DataError(f"{where}: step {t + 1} has {printable(number)!r}, {NUMBER}")
    return [[float(number) for number in step] for step in steps]


def _labels(y: Any, where: str) -> str | list[str]:
    listed = y if isinstance(y, list) else [y]
    for label in listed:
        if isinstance(label, bool | float) or not isinstance(label, str | int):
            raise DataError(f"{where}: a label is text or a whole number, got {printable(label)!r}")
    return [str(label) for label in listed] if isinstance(y, list) else str(y)

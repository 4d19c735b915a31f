"""A table as data, and as text for the terminal and for Markdown. The HTML page draws the same data."""

import re
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from concord.files.text import printable


@dataclass(frozen=True)
class Entry:
    text: str
    best: bool = False  # bold in HTML and Markdown, a star in the terminal


@dataclass(frozen=True)
class Table:
    """The first ``names`` columns are names and stand left; the others are numbers and stand right.

    A note of several lines stays in lines.
    """

    caption: str
    header: tuple[str, ...]
    rows: tuple[tuple[Entry, ...], ...]
    names: int = 1
    notes: tuple[str, ...] = ()


def entries(*texts: str) -> tuple[Entry, ...]:
    """A row in which nothing is best."""
    return tuple(Entry(text) for text in texts)


def scored(
    values: Sequence[float | None], write: Callable[[float | None], str], *, largest: bool = False
) -> list[Entry]:
    """A column of numbers, the smallest or the largest marked as the best; equal ones share the mark."""
    known = [value for value in values if value is not None and value == value]
    top = max if largest else min
    return [Entry(write(value), best=value in known and value == top(known)) for value in values]


def as_text(table: Table) -> str:
    """The table for a terminal: aligned columns, the best of a column with a star, no control characters."""
    any_best = [any(row[i].best for row in table.rows) for i in range(len(table.header))]
    rows = [[printable(text) + " " * any_best[i] for i, text in enumerate(table.header)]]
    for row in table.rows:
        rows.append([printable(e.text) + ("*" if e.best else " " * any_best[i]) for i, e in enumerate(row)])
    widths = [max(_cells(row[i]) for row in rows) for i in range(len(table.header))]
    lines = ["  ".join(_pad(row[i], widths[i], i < table.names) for i in range(len(row))) for row in rows]
    lines.insert(1, "  ".join("-" * width for width in widths))
    notes = [printable(line) for note in table.notes for line in note.splitlines()]
    return "\n".join(
        line.rstrip() for line in [printable(table.caption), "", *lines, *([""] if notes else []), *notes]
    )


def _cells(text: str) -> int:
    """Columns that a terminal gives to the text: two for a wide character, none for a combining one."""
    return sum(
        0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text
    )


def _pad(text: str, width: int, left: bool) -> str:
    blank = " " * (width - _cells(text))
    return text + blank if left else blank + text


def markdown(table: Table) -> str:
    """The table in GitHub's Markdown, the best of a column in bold; names cannot break out of their cell."""
    lines = [[escape(text) for text in table.header]]
    lines.append([":--" if i < table.names else "--:" for i in range(len(table.header))])
    lines += [[f"**{escape(e.text)}**" if e.best else escape(e.text) for e in row] for row in table.rows]
    body = ["| " + " | ".join(line) + " |" for line in lines]
    notes = [line for note in table.notes for part in note.splitlines() for line in ("", paragraph(part))]
    return "\n".join([paragraph(table.caption), "", *body, *notes]) + "\n"


def paragraph(text: str) -> str:
    """``escape`` for text that begins a line, where ``1.``, ``-``, ``#`` and others would begin a block."""
    return re.sub(r"^(\s*\d*)([-+#>~=.)])", r"\1\\\2", escape(text))


def escape(text: str) -> str:
    """Text that Markdown and HTML take for nothing but text, inside a line."""
    text = printable(text).replace("&", "&amp;").replace("<", "&lt;")
    for character in "\\`*_[]|":
        text = text.replace(character, "\\" + character)
    return text

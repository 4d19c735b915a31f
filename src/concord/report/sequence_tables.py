"""The table of figures of a run on sequences."""

from collections.abc import Mapping
from typing import Any

from concord.report.tables import Entry, Table, entries, scored
from concord.report.text import MISSING, decimal, percent, whole

# (key of a row, header, how a number is written)
COLUMNS = (
    ("test_error", "test error %", percent),
    ("valid_error", "valid error %", percent),
    ("sequence_error", "wrong sequences %", percent),
    ("nll", "NLL", decimal),
    ("bits", "bits", decimal),
)
SIZES = (("parameters", "parameters", whole), ("macs", "MACs", whole))


def figures_table(rows: Mapping[str, Mapping[str, Any]], caption: str = "Members and ensemble") -> Table:
    """A row per member and one for the ensemble, with the figures that their task has."""
    there = [column for column in COLUMNS if any(row.get(column[0]) is not None for row in rows.values())]
    figures = [scored([row.get(key) for row in rows.values()], write) for key, _, write in there]
    sizes = [
        [Entry(MISSING if row.get(key) is None else write(row[key])) for row in rows.values()]
        for key, _, write in SIZES
    ]
    header = ("member", *(name for _, name, _ in (*there, *SIZES)))
    lines = tuple((*entries(name), *cells) for name, *cells in zip(rows, *figures, *sizes, strict=True))
    return Table(caption, header, lines)

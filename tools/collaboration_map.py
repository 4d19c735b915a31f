"""The map of collaboration: where a consensus helps, does nothing or harms.

    python tools/collaboration_rows.py map/* --to MAP.csv
    python tools/collaboration_map.py MAP.csv --to MAP.svg

makes a picture of the rows, with a column for each place and a row for each arm, and prints tables as
Markdown. A difference is taken seed by seed: t interval at 95 %, and p of the exact sign-flip test, which is
at least 2 / 2^n for n seeds.
"""

import argparse
import statistics
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING

from collaboration_choice import CHOSEN, EITHER, with_choices
from collaboration_rows import PLAIN, Place, Row, read
from paired_change import Change, paired

from concord.consensus.names import ENSEMBLE
from concord.files.atomic import write_text
from concord.report.records import Setting
from concord.report.svg import INK, PAPER, standalone, svg
from concord.report.tables import Table, entries, markdown
from concord.report.text import MISSING, decimal, percent, points
from concord.studies.settings import ONCE

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.patches import Rectangle

MEMBERS = "members"  # the column of their mean
STRONG = 0.2  # share of the plain error at which a colour is full
LOST = 2e-5  # of a sum of differences between figures that are written with six digits
HELPS, HARMS = (0.00, 0.45, 0.70), (0.84, 0.37, 0.00)


class Map:
    """The rows of a map, asked by place, setting, column and measure."""

    def __init__(self, rows: Sequence[Row]) -> None:
        self.rows = rows
        self.places = sorted({row.place for row in rows})

    def settings(self) -> list[Setting]:
        """Every row of the picture: the arms as they appear, then the choices, taught once at the end."""
        found = dict.fromkeys(row.setting for row in self.rows if row.setting != PLAIN)
        return sorted(found, key=lambda setting: (setting[0] == ONCE, setting in (CHOSEN, EITHER)))

    def scores(self, place: Place, setting: Setting, measure: str, column: str) -> dict[str, float]:
        """Seed -> score; of ``MEMBERS`` the mean over the members."""
        found: dict[str, list[float]] = defaultdict(list)
        for row in self.rows:
            value = getattr(row, measure)
            there = (row.column == ENSEMBLE) == (column == ENSEMBLE)
            if row.place == place and row.setting == setting and there and value is not None:
                found[row.seed].append(value)
        return {seed: statistics.fmean(values) for seed, values in found.items()}

    def change(
        self, place: Place, setting: Setting, against: Setting, column: str, measure: str = "test_error"
    ) -> Change | None:
        """What a setting changes against another; None where they share no seed."""
        ours, theirs = (self.scores(place, s, measure, column) for s in (setting, against))
        return paired(ours, theirs, LOST)


def label(setting: Setting) -> str:
    if setting == PLAIN:
        return "plain"
    if setting in (CHOSEN, EITHER):
        return setting[0]
    return "taught once" if setting[0] == ONCE else f"{setting[0]}, weight {setting[1]:g}"


def drawn(known: Map, to: Path) -> None:
    """A field for every place and row: blue where the error falls, orange where it rises."""

    def draw(drawing: "Figure") -> None:
        above, below = drawing.subplots(2, 1)
        _panel(above, known, MEMBERS, "Test error of the members in points, against plain members")
        _panel(below, known, ENSEMBLE, "Test error of the ensemble in points, against the plain ensemble")

    width, height = max(8.0, 2.6 + 0.62 * len(known.places)), 1.8 + 0.72 * (len(known.settings()) + 1)
    write_text(to, standalone(svg(width, height, "Where a consensus helps, does nothing or harms", draw)))


def _panel(axis: "Axes", known: Map, column: str, title: str) -> None:
    places = known.places
    rows = [row for row in known.settings() if any(known.change(one, row, PLAIN, column) for one in places)]
    for (y, setting), (x, place) in product(enumerate(rows), enumerate(places)):
        change = known.change(place, setting, PLAIN, column)
        if change is not None:
            axis.add_patch(_field(x, y, change))
            weight = "bold" if change.proven else "normal"
            axis.text(
                x,
                y,
                points(change.mean) + change.star,
                ha="center",
                va="center",
                fontsize=8,
                fontweight=weight,
                color=INK,
            )
    axis.set_xlim(-0.5, len(places) - 0.5)
    axis.set_ylim(len(rows) - 0.5, -0.5)
    axis.set_yticks(range(len(rows)), [label(row) for row in rows])
    axis.set_xticks(
        range(len(places)), [f"{data}\n{images:,}\nx {epochs}" for data, images, epochs in places]
    )
    axis.tick_params(length=0)
    axis.set_title(title, loc="left")


def _field(x: float, y: float, change: Change) -> "Rectangle":
    from matplotlib.patches import Rectangle

    share = min(abs(change.mean) / change.reference / STRONG, 1.0) if change.reference else 0.0
    full = HELPS if change.mean < 0 else HARMS
    red, green, blue = (1 - 0.6 * share * (1 - part) for part in full)
    return Rectangle((x - 0.47, y - 0.44), 0.94, 0.88, facecolor=(red, green, blue), edgecolor=PAPER)


def error_table(known: Map, against: Setting, column: str) -> Table:
    """Differences of the test error, with interval and sign-flip p."""
    rows, body = [row for row in known.settings() if row != against], []
    for place in known.places:
        changes = [known.change(place, row, against, column) for row in rows]
        told = [change.told(points) if change else MISSING for change in changes]
        there = sorted((change for change in changes if change), key=lambda change: change.n)
        counts = sorted({change.n for change in there})
        figures = [" or ".join(map(str, counts)), percent(there[-1].reference)] if there else [MISSING] * 2
        body.append(entries(f"{place[0]} {place[1]:,} x {place[2]}", *figures, *told))
    return Table(
        f"Test error of the {column} in percentage points, against {label(against)}",
        ("images x epochs", "seeds", f"{label(against)} %", *map(label, rows)),
        tuple(body),
        notes=("(95 % interval, p of the sign-flip test); a star where both exclude no difference.",),
    )


def beside_table(known: Map) -> Table:
    """NLL, calibration and churn of the members, and how they disagree: means."""
    body = []
    for place, setting in product(known.places, (PLAIN, *known.settings())):
        writers = {"test_error": percent, "test_nll": decimal, "test_ece": decimal, "churn": percent}
        figures = [_mean(known.scores(place, setting, m, MEMBERS), write) for m, write in writers.items()]
        apart = _mean(known.scores(place, setting, "disagreement", ENSEMBLE), percent)
        name = f"{place[0]} {place[1]:,} x {place[2]}"
        if figures[0] != MISSING:
            body.append(entries(name, label(setting), *figures, apart))
    header = ("images x epochs", "row", "error %", "NLL", "ECE", "churn %", "disagreement %")
    return Table("Members beside their error", header, tuple(body), names=2)


def _mean(scores: Mapping[str, float], write: Callable[[float | None], str]) -> str:
    return write(statistics.fmean(scores.values())) if scores else MISSING


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("rows", type=Path)
    parser.add_argument("--to", type=Path, required=True)
    given = parser.parse_args()
    known = Map(with_choices(read(given.rows)))
    drawn(known, given.to)
    tables = [error_table(known, PLAIN, MEMBERS), error_table(known, PLAIN, ENSEMBLE)]
    tables += [error_table(known, (ONCE, 1.0), MEMBERS), beside_table(known)]
    print("\n\n".join(map(markdown, tables)))


if __name__ == "__main__":
    main()

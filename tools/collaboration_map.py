"""Draw the map of collaboration: where a consensus helps, does nothing or harms, from finished studies.

    python tools/collaboration_map.py map/* --to docs/results/collaboration-map.svg

Each folder is one of ``concord study docs/results/studies/map.toml --data DATA --set data.limit=IMAGES
--epochs EPOCHS --out map/DATA-IMAGESxEPOCHS``. The picture has a column for each of them and a row for each
arm; the tables go to the standard output as Markdown. A difference is taken seed by seed: t interval at 95 %,
and p of the exact sign-flip test, which is at least 2 / 2^n for n seeds.
"""

import argparse
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING

from concord.consensus.names import ENSEMBLE, NONE
from concord.files.atomic import write_text
from concord.report.compare import by_seed, churn, paired_difference, settings
from concord.report.records import Setting, StudyView
from concord.report.study_view import study_view
from concord.report.svg import INK, PAPER, standalone, svg
from concord.report.tables import Table, entries, markdown
from concord.report.text import MISSING, decimal, percent, points, probability
from concord.runs import toml
from concord.runs.there import STUDY
from concord.studies.settings import ONCE
from concord.studies.study import planned

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.patches import Rectangle

MEMBERS = "members"  # the column of their mean
PLAIN: Setting = (NONE, 0.0)
STRONG = 0.2  # share of the plain error at which a colour is full
HELPS, HARMS = (0.00, 0.45, 0.70), (0.84, 0.37, 0.00)


@dataclass(frozen=True)
class Place:
    """A column of the map: a study of few or many images, and of few or many epochs."""

    data: str
    images: int
    epochs: int
    view: StudyView

    @property
    def members(self) -> tuple[str, ...]:
        return next(cell.members for cell in self.view.cells if cell.setting == PLAIN)

    def scores(self, setting: Setting, measure: str, column: str) -> dict[int, float]:
        """Seed -> score; of ``MEMBERS`` the mean over the members."""
        if column == ENSEMBLE:
            return by_seed(self.view.cells, setting, self.members, measure, ENSEMBLE)
        found = [by_seed(self.view.cells, setting, self.members, measure, name) for name in self.members]
        return {seed: statistics.fmean(one[seed] for one in found) for seed in found[0]}

    def changed(self, setting: Setting, against: Setting, measure: str, column: str) -> "Change | None":
        ours, theirs = (self.scores(s, measure, column) for s in (setting, against))
        seeds = sorted(ours.keys() & theirs.keys())
        if not seeds:
            return None
        known = paired_difference(ours, theirs)
        assert known is not None
        p = sign_flip([ours[seed] - theirs[seed] for seed in seeds])
        return Change(known.mean, known.low, known.high, p, statistics.fmean(theirs[s] for s in seeds))


@dataclass(frozen=True)
class Change:
    """Mean difference over the seeds, its interval, p of the sign-flip test, and what it is compared with."""

    mean: float
    low: float | None
    high: float | None
    p: float
    reference: float

    @property
    def proven(self) -> bool:
        """Both the interval and the sign-flip test exclude no difference."""
        return self.low is not None and self.high is not None and self.low * self.high > 0 and self.p < 0.05

    @property
    def text(self) -> str:
        return f"{points(self.mean)}{'*' if self.proven else ''}"


def sign_flip(differences: Sequence[float]) -> float:
    """Two-sided p: the share of the 2^n choices of signs whose sum is at least as far from 0."""
    sums = [sum(s * d for s, d in zip(signs, differences, strict=True))
            for signs in product((1, -1), repeat=len(differences))]  # fmt: skip
    far = abs(sum(differences)) * (1 - 1e-12)
    return sum(abs(total) >= far for total in sums) / len(sums)


def place(folder: Path) -> Place:
    tables = toml.read(folder / STUDY)
    varied, cells = planned(folder, tables)
    source = Path(str(tables["data"]["source"]))
    name = source.parent.name if source.name.startswith("grey") else source.name
    return Place(name, tables["data"]["limit"], tables["train"]["epochs"], study_view(folder, varied, cells))


def rows_of(places: Sequence[Place]) -> list[Setting]:
    found = dict.fromkeys(s for one in places for s in settings(one.view, one.members) if s != PLAIN)
    return sorted(found, key=lambda setting: setting[0] == ONCE)


def label(setting: Setting) -> str:
    return "taught once by the ensemble" if setting[0] == ONCE else f"{setting[0]}, weight {setting[1]:g}"


def drawn(places: Sequence[Place], to: Path) -> None:
    """A field for every place and row: blue where the error falls, orange where it rises."""
    rows = rows_of(places)

    def draw(drawing: "Figure") -> None:
        above, below = drawing.subplots(2, 1)
        _panel(above, places, rows, MEMBERS, "Test error of the members in points, against plain members")
        _panel(
            below, places, rows, ENSEMBLE, "Test error of the ensemble in points, against the plain ensemble"
        )

    width, height = 2.6 + 0.62 * len(places), 1.8 + 0.72 * (len(rows) + 1)
    title = "Where a consensus helps, does nothing or harms"
    write_text(to, standalone(svg(width, height, title, draw)))


def _panel(axis: "Axes", places: Sequence[Place], rows: Sequence[Setting], column: str, title: str) -> None:
    for (y, setting), (x, one) in product(enumerate(rows), enumerate(places)):
        change = one.changed(setting, PLAIN, "test_error", column)
        if change is None:
            continue
        axis.add_patch(rectangle(x, y, colour(change)))
        weight = "bold" if change.proven else "normal"
        axis.text(x, y, change.text, ha="center", va="center", fontsize=8, fontweight=weight, color=INK)
    axis.set_xlim(-0.5, len(places) - 0.5)
    axis.set_ylim(len(rows) - 0.5, -0.5)
    axis.set_yticks(range(len(rows)), [label(row) for row in rows])
    names = [f"{one.data}\n{one.images:,}\nx {one.epochs}" for one in places]
    axis.set_xticks(range(len(places)), names)
    axis.tick_params(length=0)
    axis.set_title(title, loc="left")


def rectangle(x: float, y: float, face: tuple[float, float, float]) -> "Rectangle":
    from matplotlib.patches import Rectangle

    return Rectangle((x - 0.47, y - 0.44), 0.94, 0.88, facecolor=face, edgecolor=PAPER)


def colour(change: Change) -> tuple[float, float, float]:
    share = min(abs(change.mean) / change.reference / STRONG, 1.0) if change.reference else 0.0
    full = HELPS if change.mean < 0 else HARMS
    red, green, blue = (1 - 0.6 * share * (1 - part) for part in full)
    return red, green, blue


def error_table(places: Sequence[Place], against: Setting, column: str) -> Table:
    """Differences of the test error, with interval and sign-flip p."""
    header, body = ["data", "images", "epochs", "there %"], []
    rows = [row for row in rows_of(places) if row != against]
    for one in places:
        changes = [one.changed(row, against, "test_error", column) for row in rows]
        there = next((c.reference for c in changes if c), None)
        body.append(
            entries(one.data, f"{one.images:,}", f"{one.epochs}", percent(there), *map(_told, changes))
        )
    name = "taught once" if against[0] == ONCE else "plain"
    return Table(
        f"Test error of the {column} in percentage points against {name} ones",
        (*header, *map(label, rows)),
        tuple(body),
        names=1,
    )


def _told(change: Change | None) -> str:
    if change is None:
        return MISSING
    if change.low is None:
        return change.text
    return f"{change.text} ({points(change.low)} to {points(change.high)}, p {probability(change.p)})"


def beside_table(places: Sequence[Place]) -> Table:
    """NLL and calibration of the members, churn of the first member, disagreement of the two: means."""
    body = []
    for one in places:
        for setting in (PLAIN, *rows_of([one])):
            cells = [cell for cell in one.view.cells if cell.setting == setting]
            votes = [cell.votes[one.members[0]] for cell in cells if one.members[0] in cell.votes]
            apart = [cell.pairs["disagreement"] for cell in cells if "disagreement" in cell.pairs]
            name = "plain" if setting == PLAIN else label(setting)
            body.append(
                entries(
                    f"{one.data} {one.images:,} x {one.epochs}", name,
                    *(_mean(one.scores(setting, m, MEMBERS), w)
                      for m, w in (("test_error", percent), ("test_nll", decimal), ("test_ece", decimal))),
                    percent(churn(votes)), percent(statistics.fmean(apart)) if apart else MISSING,
                )
            )  # fmt: skip
    return Table(
        "Members beside their error",
        ("place", "row", "error %", "NLL", "ECE", "churn %", "disagreement %"),
        tuple(body),
        names=2,
    )


def _mean(scores: Mapping[int, float], write: Callable[[float | None], str]) -> str:
    return write(statistics.fmean(scores.values())) if scores else MISSING


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("studies", nargs="+", type=Path)
    parser.add_argument("--to", type=Path, required=True, help="SVG file")
    given = parser.parse_args()
    places = sorted(map(place, given.studies), key=lambda one: (one.data, one.images, one.epochs))
    drawn(places, given.to)
    tables = [error_table(places, PLAIN, MEMBERS), error_table(places, PLAIN, ENSEMBLE)]
    tables += [error_table(places, (ONCE, 1.0), MEMBERS), beside_table(places)]
    print("\n\n".join(map(markdown, tables)))


if __name__ == "__main__":
    main()

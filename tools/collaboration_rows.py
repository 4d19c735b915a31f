"""Rows of the map of collaboration: read from studies, kept as CSV.

    python tools/collaboration_rows.py map/* --to MAP.csv

reads the folders of finished studies, each of ``concord study docs/results/studies/map.toml --data DATA --set
data.limit=IMAGES --epochs EPOCHS --out map/DATA-IMAGESxEPOCHS``; other arms and seeds of one place may lie in
another folder. Rows that MAP.csv has already and no folder has are kept.
"""

import argparse
import csv
import io
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from concord.consensus.names import ENSEMBLE, NONE
from concord.files.atomic import write_text
from concord.report.compare import churn
from concord.report.records import Cell, Setting
from concord.report.study_view import study_view
from concord.runs import toml
from concord.runs.there import STUDY
from concord.studies.study import planned

EVERY = "every"  # in place of a seed: what is a figure of all of them
PLAIN: Setting = (NONE, 0.0)
Place = tuple[str, int, int]  # data, images, epochs


@dataclass(frozen=True)
class Row:
    """The figures of one column of one run; of ``EVERY`` seed only the churn. Empty where there is none."""

    data: str
    images: int
    epochs: int
    cost: str
    weight: float
    column: str
    seed: str
    test_error: float | None = None
    valid_error: float | None = None
    test_nll: float | None = None
    test_ece: float | None = None
    disagreement: float | None = None
    churn: float | None = None

    @property
    def place(self) -> Place:
        return self.data, self.images, self.epochs

    @property
    def setting(self) -> Setting:
        return self.cost, self.weight


def collected(folders: Iterable[Path]) -> list[Row]:
    """All rows of the studies in these folders."""
    places: dict[Place, list[Cell]] = defaultdict(list)
    for folder in folders:
        tables = toml.read(folder / STUDY)
        varied, cells = planned(folder, tables)
        source = Path(str(tables["data"]["source"]))
        name = source.parent.name if source.name.startswith("grey") else source.name
        place = name, tables["data"]["limit"], tables["train"]["epochs"]
        places[place] += study_view(folder, varied, cells).cells
    return [row for place in sorted(places) for row in _rows(place, places[place])]


MEASURES = ("test_error", "valid_error", "test_nll", "test_ece")


def _rows(place: Place, cells: Sequence[Cell]) -> Iterator[Row]:
    votes: dict[tuple[str, float, str], list[Sequence[int]]] = defaultdict(list)
    different = {(cell.setting, cell.seed): cell for cell in cells}  # an arm may be in two studies
    for cell in sorted(different.values(), key=lambda one: one.seed):
        for column in cell.scores["test_error"]:
            figures = {measure: cell.scores[measure].get(column) for measure in MEASURES}
            apart = cell.pairs.get("disagreement") if column == ENSEMBLE else None
            yield Row(*place, *cell.setting, column, str(cell.seed), **figures, disagreement=apart)
            if column in cell.votes:
                votes[*cell.setting, column].append(cell.votes[column])
    for (cost, weight, column), found in votes.items():
        yield Row(*place, cost, weight, column, EVERY, churn=churn(found))


def merged(before: Iterable[Row], found: Iterable[Row]) -> list[Row]:
    """All rows, by place; those of ``found`` in place of those of the same run and column."""
    rows = {(row.place, row.setting, row.column, row.seed): row for row in (*before, *found)}
    return sorted(rows.values(), key=lambda row: row.place)


def written(rows: Sequence[Row]) -> str:
    out = io.StringIO()
    writer = csv.DictWriter(out, [field.name for field in fields(Row)], lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({key: _short(value) for key, value in asdict(row).items()})
    return out.getvalue()


def _short(value: object) -> object:
    return f"{value:.6g}" if isinstance(value, float) else value


def read(path: Path) -> list[Row]:
    with path.open(newline="") as file:
        return [_row(line) for line in csv.DictReader(file)]


def _row(line: Mapping[str, str]) -> Row:
    found = [field.name for field in fields(Row)][7:]
    figures = {name: float(line[name]) if line[name] else None for name in found}
    return Row(
        line["data"], int(line["images"]), int(line["epochs"]), line["cost"], float(line["weight"]),
        line["column"], line["seed"], **figures,
    )  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("studies", nargs="+", type=Path)
    parser.add_argument("--to", type=Path, required=True)
    given = parser.parse_args()
    before = read(given.to) if given.to.exists() else []
    write_text(given.to, written(merged(before, collected(given.studies))))


if __name__ == "__main__":
    main()

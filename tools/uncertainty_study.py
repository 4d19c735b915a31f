"""How sure the networks of a study are: temperatures, sets of labels, corrupted images and other data.

    python tools/uncertainty_study.py STUDY --to ROWS.csv [--against DATA] [--corrupt 500]
                                      [--arms "none,sce_tf1 linear 1"]

measures every finished run of the study again, trains nothing, and prints a table as Markdown: the mean of
each figure in the plain ensemble, and what every other arm changes, seed by seed, with the t interval at 95 %
and p of the exact sign-flip test. Members stand by their mean. The rows are kept in ROWS.csv, and what is
there is not measured again.
"""

import argparse
import csv
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from paired_change import paired

import concord
from concord.consensus.names import ENSEMBLE, NONE
from concord.errors import ConcordError, UsageError
from concord.files.atomic import write_text
from concord.report.tables import Table, entries, markdown
from concord.report.text import MISSING
from concord.runs import toml
from concord.runs.there import STUDY
from concord.studies.study import is_study, planned

MEMBERS = "members"  # the column of their mean
HEADER = ("arm", "seed", "column", "measure", "value")
Rows = dict[tuple[str, str, str, str], float]  # arm, seed, column, measure -> value


def measured(run: Path, against: str | None, corrupt: int | None) -> Iterator[tuple[str, str, float]]:
    """(column, measure, value) of one run; percentages where the figure is a share."""
    found = concord.evaluate(run, against=against or ()).to_dict()
    for column, scores in _by_column(found):
        yield column, "error %", 100 * fmean(one["test_error"] for one in scores)
        yield column, "NLL", fmean(one["nll"] for one in scores)
        yield column, "ECE %", 100 * fmean(one["ece"] for one in scores)
    for column, figures in _by_column(found["uncertainty"]):
        scaled = [one for one in figures if one["temperature"] is not None]
        if len(scaled) == len(figures):
            yield column, "T", fmean(one["temperature"] for one in scaled)
            yield column, "NLL scaled", fmean(one["nll"] for one in scaled)
            yield column, "ECE scaled %", 100 * fmean(one["ece"] for one in scaled)
        for name in ("lac", "aps", "raps"):
            yield (
                column,
                f"coverage of {name} %",
                100 * fmean(one["sets"][name]["coverage"] for one in figures),
            )
            yield column, f"labels of {name}", fmean(one["sets"][name]["size"] for one in figures)
    for other in found.get("against", ()):
        for column, figures in _by_column(other):
            for score in figures[0]:
                yield column, f"AUROC of {score} %", 100 * fmean(one[score]["auroc"] for one in figures)
    if corrupt:
        networks = concord.corrupt(run, limit=corrupt).to_dict()["networks"]
        parts = {MEMBERS: [of for name, of in networks.items() if name != ENSEMBLE]}
        for column, figures in (parts | {ENSEMBLE: [networks[ENSEMBLE]]}).items():
            yield column, "corrupted: error %", 100 * fmean(one["mean_error"] for one in figures)
            yield column, "corrupted: ECE %", 100 * fmean(one["mean_ece"] for one in figures)


def _by_column(found: Mapping[str, Any]) -> Iterator[tuple[str, list[Mapping[str, Any]]]]:
    yield MEMBERS, list(found["members"].values())
    yield ENSEMBLE, [found[ENSEMBLE]]


def collected(study: Path, rows: Rows, arms: Sequence[str], against: str | None, corrupt: int | None) -> Rows:
    """The rows with those of every run of these arms that has none yet."""
    if not is_study(study):
        raise UsageError(f"{study} is no folder of `concord study`")
    _, cells = planned(study, toml.read(study / STUDY))
    there = dict.fromkeys(cell.cost for cell in cells)
    if NONE not in arms or not set(arms) & (there.keys() - {NONE}):
        known = ", ".join(there)
        raise UsageError(
            f"--arms needs none and an arm of the study, which has {known}; got {', '.join(arms)}"
        )
    for cell in cells:
        arm = cell.cost if cell.cost == NONE else f"{cell.cost} {cell.weight:g}"
        known = any(key[:2] == (arm, str(cell.seed)) for key in rows)
        if known or cell.cost not in arms or not cell.done(study / "cells"):
            continue
        for column, measure, value in measured(study / "cells" / cell.name, against, corrupt):
            rows[arm, str(cell.seed), column, measure] = value
        print(f"{arm} seed {cell.seed}", flush=True)
    return rows


def tables(rows: Rows) -> list[Table]:
    """One for the members and one for the ensemble."""
    arms = [arm for arm in dict.fromkeys(key[0] for key in rows) if arm != NONE]
    values: dict[tuple[str, str, str], dict[str, float]] = defaultdict(dict)
    for (arm, seed, column, measure), value in rows.items():
        values[arm, column, measure][seed] = value
    made = []
    for column in (MEMBERS, ENSEMBLE):
        body = []
        for measure in dict.fromkeys(key[3] for key in rows if key[2] == column):
            plain = values[NONE, column, measure]
            told = [_change(values[arm, column, measure], plain) for arm in arms]
            body.append(entries(measure, f"{fmean(plain.values()):.4g}" if plain else MISSING, *told))
        made.append(Table(f"The {column}", ("", "plain", *arms), tuple(body)))
    return made


def _change(ours: Mapping[str, float], plain: Mapping[str, float]) -> str:
    change = paired(ours, plain)
    return change.told(lambda value: f"{value:+.3g}") if change else MISSING


def read(path: Path) -> Rows:
    if not path.exists():
        return {}
    with path.open(newline="") as file:
        return {
            (line["arm"], line["seed"], line["column"], line["measure"]): float(line["value"])
            for line in csv.DictReader(file)
        }


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("study", type=Path)
    parser.add_argument("--to", type=Path, required=True)
    parser.add_argument("--against")
    parser.add_argument("--corrupt", type=int)
    parser.add_argument("--arms", default=f"{NONE},sce_tf1 linear 1,kl linear 1")
    given = parser.parse_args()
    arms = [arm.strip() for arm in given.arms.split(",")]
    try:
        rows = collected(given.study, read(given.to), arms, given.against, given.corrupt)
    except ConcordError as error:
        print(f"uncertainty_study: {error}", file=sys.stderr)
        return error.exit_status
    lines = [",".join(HEADER), *(",".join([*key, repr(value)]) for key, value in rows.items())]
    write_text(given.to, "\n".join(lines) + "\n")
    print("\n\n".join(map(markdown, tables(rows))))
    return 0


if __name__ == "__main__":
    sys.exit(main())

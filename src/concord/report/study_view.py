"""The folder of a study as the report room wants it, and what is written of it: tables, data, page."""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from concord.consensus.names import ENSEMBLE, NONE
from concord.errors import CheckpointError
from concord.files.atomic import write_text
from concord.files.text import printable
from concord.report.compare import member_sets
from concord.report.noel2017 import published
from concord.report.page import page
from concord.report.records import ALONE, Cell, StudyView
from concord.report.shares import shares
from concord.report.study_tables import study_tables
from concord.report.tables import as_text, markdown, paragraph
from concord.report.verdict import findings, verdict_sentences, winner
from concord.report.views import run_view
from concord.runs import predictions, toml
from concord.runs.folder import RunFolder
from concord.runs.there import STUDY
from concord.studies.cells import check_cells, refuse_strangers
from concord.studies.rows import SNAPSHOTS_FILE, GridCell
from concord.studies.settings import SNAPSHOTS, Study
from concord.studies.study import notices, planned
from concord.studies.training_macs import columns_macs
from concord.training.observer import SILENT, Observer

# measure of a study -> key of a result
MEASURES = {"test_error": "test_error", "valid_error": "valid_error", "test_nll": "nll", "test_ece": "ece"}


def study_view(folder: Path, varied: Study, cells: Sequence[GridCell]) -> StudyView:
    """The finished cells; CheckpointError if there are none, or another run lies in the place of one."""
    check_cells(folder / "cells", cells)
    runs = [(cell, RunFolder(folder / "cells" / cell.name)) for cell in cells]
    found = {cell.name: _checked(cell, run) for cell, run in runs if cell.done(folder / "cells")}
    if not found:
        raise CheckpointError(f"{folder}: no run of this study is complete")
    macs = columns_macs(cells, folder / "cells")
    priced = tuple(replace(cell, training_macs=macs[name]) for name, cell in found.items())
    theirs = published(varied.published, priced[-1].members) if varied.published else None
    baselines = (NONE, ALONE) if varied.alone else (NONE,)
    return StudyView(folder.name, priced, baselines, theirs, tuple(notices(folder, cells)))


def _checked(cell: GridCell, run: RunFolder) -> Cell:
    """The cell; CheckpointError if the files of its run lack something."""
    try:
        return _cell(cell, run)
    except (KeyError, TypeError, AttributeError) as error:
        files = "result.json, metrics.jsonl or predictions.safetensors"
        raise CheckpointError(
            f"{run.path}: {files} is damaged or of an older version, it lacks {error}"
        ) from None


def _cell(cell: GridCell, run: RunFolder) -> Cell:
    if cell.cost == SNAPSHOTS:
        return _of_snapshots(cell, run)
    result = run.json("result.json")
    rows = _counted(result, cell.only)
    scores = {
        measure: {column: row[key] for column, row in rows.items() if row[key] is not None}
        for measure, key in MEASURES.items()
    }
    named = {column: found.tolist() for column, found in predictions.votes(run).items()}
    pairs = (
        {}
        if cell.only
        else {key: _mean_of_pairs(result.get(key)) for key in ("disagreement", "error_correlation")}
    )
    if not cell.only and len(cell.members) > 1:
        pairs["probabilities_error"] = result["ensemble"]["probabilities"]["error"]
    return Cell(
        cell.cost,
        cell.weight,
        cell.members,
        cell.seed,
        scores,
        metrics=[_line(line, cell.only) for line in run.rows()],
        votes={column: named[name] for name, column in cell.only.items()} if cell.only and named else named,
        sizes={c: (row["parameters"], row["macs"]) for c, row in rows.items() if "macs" in row},
        seconds=result.get("seconds"),
        pairs={key: value for key, value in pairs.items() if value is not None},
    )


def _of_snapshots(cell: GridCell, run: RunFolder) -> Cell:
    """The figures of what snapshots predict together, of which each has the size of the member."""
    columns, result = run.json(SNAPSHOTS_FILE, ["columns"])["columns"], run.json("result.json")
    cycles, members = cell.config.train.cycles, result["members"]
    return Cell(
        cell.cost,
        cell.weight,
        cell.members,
        cell.seed,
        {
            measure: {column: row[key] for column, row in columns.items() if row[key] is not None}
            for measure, key in MEASURES.items()
        },
        metrics=run.rows(),
        sizes={
            name: (cycles * row["parameters"], cycles * row["macs"])
            for name, row in members.items()
            if row["macs"] is not None
        },
        seconds=result.get("seconds"),
    )


def _counted(scores: Mapping[str, Any], only: Mapping[str, str] | None) -> dict[str, Any]:
    """Column -> scores: those of all members and of the ensemble, or of the one that counts."""
    if only is None:
        return {**scores["members"], ENSEMBLE: scores["ensemble"]}
    return {column: scores["members"][member] for member, column in only.items()}


def _line(line: Mapping[str, Any], only: Mapping[str, str] | None) -> dict[str, Any]:
    """A line of metrics.jsonl with the scores of the columns that count."""
    parts = {}
    for split in ("train", "valid", "test"):
        if line.get(split) and only:
            counted = _counted(line[split], only)
            ensemble = counted.pop(ENSEMBLE, None)
            parts[split] = {"members": counted, "ensemble": ensemble}
    return {**line, **parts}


def _mean_of_pairs(matrix: Sequence[Sequence[float | None]] | None) -> float | None:
    """Mean above the diagonal; None where a pair has no value, or where there is no pair."""
    values = [x for i, row in enumerate(matrix or []) for x in row[i + 1 :]]
    known = [x for x in values if x is not None]
    return sum(known) / len(known) if known and len(known) == len(values) else None


def write_tables(folder: Path, view: StudyView) -> dict[str, Any]:
    """table.md, table.txt and study.json; gives what the last one holds."""
    tables, verdict = study_tables(view), verdict_sentences(view)
    for name, write, text in (("table.md", markdown, paragraph), ("table.txt", as_text, printable)):
        write_text(folder / name, "\n\n".join([*map(text, verdict), *map(write, tables)]) + "\n")
    rows = [{k: v for k, v in asdict(cell).items() if k not in ("metrics", "votes")} for cell in view.cells]
    figures = {
        "study": str(folder),
        "verdict": verdict,
        "cells": rows,
        "shares": [one.to_dict() for members in member_sets(view.cells) for one in shares(view, members)],
        "tables": [asdict(table) for table in tables],
    }
    write_text(folder / "study.json", json.dumps(figures, indent=1))
    return figures


def write_study_report(
    folder: Path,
    target: Path,
    *,
    data: str | None = None,
    allow_code: Collection[str] = (),
    observer: Observer = SILENT,
) -> Path:
    """The study as one HTML page, with a close look at one run: the first seed of the winning row."""
    varied, cells = planned(folder, toml.read(folder / STUDY))
    refuse_strangers(folder / "cells", cells)
    view = study_view(folder, varied, cells)
    complete = [c for c in cells if RunFolder(folder / "cells" / c.name).complete]
    chosen = _looked_at(view, complete)
    closely = (
        f"The sections from here on look at one of the {len(complete)} runs, {chosen.name}; the others are "
        "in the folder cells of the study."
    )
    runs = [run_view(folder / "cells" / chosen.name, data, allow_code, observer)]
    text = page(runs, study=replace(view, looked_at=closely), title=f"concord: {folder.name}")
    write_text(target, text)
    return target


def _looked_at(view: StudyView, complete: Sequence[GridCell]) -> GridCell:
    """A run of all members: of the row that is proven to win, else of the plain ensemble, else any."""
    together = [cell for cell in complete if cell.only is None and cell.cost != ALONE] or list(complete)
    won = next((w for m in member_sets(view.cells) if (w := winner(findings(view, m)))), (NONE, 0.0))
    return next((cell for cell in together if (cell.cost, cell.weight) == won), together[0])

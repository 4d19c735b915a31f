"""What each column of a study took to train, with the training of its teachers."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from concord.consensus.names import ENSEMBLE
from concord.runs.folder import RunFolder
from concord.runs.interface import INTERFACE, Interface
from concord.runs.teachers import run_and_member
from concord.runs.training_macs import learned_from, training_macs
from concord.studies.rows import GridCell

Macs = Mapping[str, int | None]


def columns_macs(cells: Sequence[GridCell], runs: Path) -> dict[str, dict[str, int | None]]:
    """Name of every finished cell -> column -> multiply-accumulates of the training that it took.

    A member took its own passes, those of all members from which it learned, and the training of teachers
    that are members of other cells, in these cells; teachers from elsewhere count the passes alone. The
    ensemble took all of these. None where a figure is missing.
    """
    by_name = {cell.name: cell for cell in cells}
    known: dict[str, Macs] = {}  # of the members of a run
    found = {}
    for cell in sorted(cells, key=lambda cell: _depth(cell, by_name)):
        run = RunFolder(runs / cell.name)
        if not run.complete:
            continue
        parts = _parts(cell, run, known)
        config = run.config()
        known[cell.name] = {name: _sum(parts, learned_from(config, name)) for name in parts}
        if cell.only is None:
            found[cell.name] = {**known[cell.name], ENSEMBLE: _sum(parts, parts)}
        else:
            found[cell.name] = {column: known[cell.name][name] for name, column in cell.only.items()}
    return found


def _depth(cell: GridCell, cells: Mapping[str, GridCell]) -> int:
    """How many cells stand between a cell and one without teachers."""
    teacher = cells.get(cell.teacher.name) if cell.teacher else None
    return 0 if teacher is None else 1 + _depth(teacher, cells)


def _parts(cell: GridCell, run: RunFolder, known: Mapping[str, Macs]) -> dict[str, int | None]:
    """Each member's own passes in this run, and of a teacher what its training took before."""
    config, rows = run.config(), run.rows(("seconds", "samples_per_second", "step"))
    members = run.json("result.json", ["members"])["members"]
    forward = {name: row.get("macs") for name, row in members.items()}
    seen = Interface.from_plain(run.json("interface.json", INTERFACE))
    parts = training_macs(config, forward, seen.shape, len(seen.classes), rows)
    for member in config.members:
        path, name = run_and_member(member.teacher or "")
        if cell.teacher is not None and path.name == cell.teacher.name:
            own, made = parts[member.name], known.get(path.name, {}).get(name)
            parts[member.name] = None if own is None or made is None else own + made
    return parts


def _sum(parts: Macs, names: Iterable[str]) -> int | None:
    total = 0
    for name in names:
        part = parts[name]
        if part is None:
            return None
        total += part
    return total

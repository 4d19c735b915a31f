"""Whether the runs in a study's folder are those of its cells: no other run may stand in the place of one."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from concord.errors import CheckpointError
from concord.runs import toml
from concord.runs.config import Config
from concord.runs.folder import RunFolder
from concord.studies.rows import GridCell

SOURCE = "data.source: "
# settings of [train] that are chosen for the machine where a cell leaves them open
OPEN = ("device", "precision", "threads")
# how samples get into batches makes no difference; a retired member is reported with the figures
NO_DIFFERENCE = ("data.keep: ", "data.workers: ", "data.largest_image: ")


@dataclass(frozen=True)
class _Found:
    """A run in the place of a cell: where its settings differ from the cell's, and what it was trained on."""

    cell: GridCell
    changes: Sequence[str]
    fingerprint: str | None  # of the data; None of a run in progress

    @property
    def moved(self) -> bool:
        return any(change.startswith(SOURCE) for change in self.changes)


def check_cells(runs: Path, cells: Iterable[GridCell]) -> None:
    """CheckpointError that names the first cell whose folder holds another run, and what differs.

    The runs of one seed were trained on the same data. Where they lie may have changed since, if another run
    of that seed shows that they are the same.
    """
    found = [_found(runs, cell) for cell in cells if (runs / cell.name / "config.toml").exists()]
    known: dict[int, str] = {}
    for one in found:
        if one.fingerprint and not one.moved:
            known.setdefault(one.cell.seed, one.fingerprint)
    for one in found:
        changes = _other(one, known.get(one.cell.seed))
        if changes:
            listed = "\n".join(f"  {change}" for change in changes)
            raise CheckpointError(
                f"{runs / one.cell.name}: not the run of the cell {one.cell.name}:\n{listed}\n"
                "Put the run of this cell back, or remove the folder: the study trains it again when repeated"
            )


def refuse_strangers(runs: Path, cells: Iterable[GridCell]) -> None:
    """CheckpointError that names a run beside the cells: the settings of the study were others then."""
    known = {cell.name for cell in cells}
    there = sorted(file.parent.name for file in runs.glob("*/config.toml"))
    for name in there:
        if name not in known:
            raise CheckpointError(
                f"{runs / name}: a run that is not a cell of the study: study.toml was edited since, or the"
                " folder is of another study. Undo the change, or move the folder elsewhere"
            )


def _found(runs: Path, cell: GridCell) -> _Found:
    for path in (runs, runs / cell.name):
        if path.is_symlink():
            raise CheckpointError(
                f"{path} is a link, and the cell {cell.name} would be the run of another folder: put a copy"
                " in its place, or move the whole study and link to that"
            )
    folder = RunFolder(runs / cell.name)
    result = folder.json("result.json", ["fingerprint"]) if folder.complete else {}
    return _Found(cell, _differences(cell.config, folder.config()), result.get("fingerprint"))


def _other(found: _Found, fingerprint: str | None) -> list[str]:
    """What makes it another run, where the runs of its seed have data of this fingerprint."""
    if found.fingerprint is None or fingerprint is None:
        return list(found.changes)
    changes = [change for change in found.changes if not change.startswith(SOURCE)]
    if found.fingerprint == fingerprint:
        return changes
    return [*changes, f"data: {fingerprint[:12]}... -> {found.fingerprint[:12]}..."]


def _differences(asked: Config, made: Config) -> list[str]:
    """``key: asked -> made`` for every setting that a cell does not leave open."""
    ours, theirs = _plain(asked), _plain(made)
    for key in OPEN:
        if ours["train"][key] in (None, "auto"):
            ours["train"][key] = theirs["train"][key]
    found = toml.differences(ours, theirs)
    return [change for change in found if not change.startswith(NO_DIFFERENCE)]


def _plain(config: Config) -> dict[str, Any]:
    plain = config.model_dump(mode="json")
    members = [_member(member) for member in plain["members"]]
    order = {"order of members": [member["name"] for member in members]}
    return {**plain, "members": {member["name"]: member for member in members}, **order}


def _member(member: Mapping[str, Any]) -> dict[str, Any]:
    """Without what may differ: a teacher is named by its cell, because the study may have been moved."""
    teacher = member["teacher"]
    return {**member, "retired": False, "teacher": teacher and Path(teacher).name}

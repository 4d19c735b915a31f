"""A study and its folder: every cell of the grid is trained, and a stopped study continues.

    STUDY/study.toml       what is varied and what stays
    STUDY/cells/NAME/      one run folder per cell
    STUDY/.lock            held while a process is at work here

Nothing here imports torch before the processes of the cells have begun, unless a rival is none of the zoo.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from concord.errors import DivergedError, StoppedError, UsageError, amount
from concord.files.atomic import make_folder_of, write_text
from concord.runs import toml
from concord.runs.folder import RunFolder, locked
from concord.runs.there import STUDY
from concord.studies import grid
from concord.studies.cells import check_cells, refuse_strangers
from concord.studies.processes import run_all, threads_each
from concord.studies.rows import GridCell
from concord.studies.settings import WIDER, Study
from concord.training.observer import Observer
from concord.zoo.build import refuse_unknown


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """The study folder for this process alone; the lock ends with the process, however it ends."""
    make_folder_of(folder / STUDY)
    with locked(RunFolder(folder)):
        yield


def planned(folder: Path, settings: Mapping[str, Any]) -> tuple[Study, list[GridCell]]:
    """What the settings vary, and all runs of it in this folder."""
    varied, base = grid.parse(settings)
    return varied, grid.cells(varied, base, folder.resolve() / "cells")


def refuse_rivals(varied: Study) -> None:
    """UsageError, with its key, for a network in place of all members that does not exist."""
    for row, network in varied.one_network.items():
        try:
            refuse_unknown(network)
        except UsageError as error:
            raise _of_rival(row, error) from None


def _of_rival(row: str, error: UsageError) -> UsageError:
    key = WIDER if row == WIDER else f"instead.{row}"
    return UsageError(f"study.{key}: {error}")


def is_study(folder: Path) -> bool:
    return (folder / STUDY).is_file()


def claim(folder: Path, settings: Mapping[str, Any]) -> None:
    """Write study.toml, or see that the one there says the same."""
    file = folder / STUDY
    begun = any((folder / "cells").glob("*/config.toml"))
    if not file.exists() or not begun:  # before its first run a study can still become another one
        write_text(file, toml.to_text(settings))
        return
    changes = toml.differences(toml.read(file), settings)
    if changes:
        listed = "\n".join(f"  {change}" for change in changes)
        raise UsageError(f"{folder} holds another study; give another --out, or undo:\n{listed}")


def run_cells(
    folder: Path,
    cells: Sequence[GridCell],
    jobs: int | None,
    allow_code: Collection[str],
    observer: Observer,
    stop: Callable[[], bool],
) -> dict[str, str]:
    """Train what is not complete, pupils after their teachers; gives the reason of every cell that failed.

    CheckpointError if another run lies in the place of a cell or beside the cells.
    """
    refuse_strangers(folder / "cells", cells)
    check_cells(folder / "cells", cells)
    todo = [cell for cell in cells if not cell.done(folder / "cells")]
    done = len(cells) - len(todo)
    if done:
        observer.notice(f"{done} of {amount(len(cells), 'run')} finished already")
    observer.counted(done, len(cells))
    failed: dict[str, str] = {}
    for cell, outcome in _outcomes(folder / "cells", cells, todo, jobs, allow_code, stop):
        if isinstance(outcome, StoppedError):
            raise StoppedError("stopped, everything is saved: the same command continues from here")
        if isinstance(outcome, DivergedError):
            failed[cell.name] = str(outcome)
        elif isinstance(outcome, UsageError) and cell.one_network:
            raise _of_rival(cell.cost, outcome) from outcome
        elif isinstance(outcome, Exception):
            raise outcome
        done += 1
        observer.counted(done, len(cells))
        observer.notice(_line(cell, outcome) if isinstance(outcome, dict) else f"{cell.name}: {outcome}")
    return failed


def _outcomes(
    runs: Path,
    cells: Sequence[GridCell],
    todo: Sequence[GridCell],
    jobs: int | None,
    allow_code: Collection[str],
    stop: Callable[[], bool],
) -> Iterator[tuple[GridCell, dict[str, Any] | Exception]]:
    """Every cell that was to do, with its result or why it has none."""
    threads = threads_each(len(cells), jobs)  # of the whole grid, so that every row is computed alike
    known = {cell.name: cell for cell in cells}
    waves = [(_wave(cell, known), cell) for cell in todo]
    for number in sorted({wave for wave, _ in waves}):
        ready = []
        for cell in (cell for wave, cell in waves if wave == number):
            if cell.teacher and not (cell.teacher / "result.json").is_file():
                yield cell, UntaughtError(f"the run of its teachers gave no result: {cell.teacher.name}")
            else:
                ready.append(cell)
        yield from run_all(runs, _new_networks_first(ready), jobs, threads, tuple(allow_code), stop)


def _new_networks_first(cells: Sequence[GridCell]) -> list[GridCell]:
    """Those with a network that none before them has come first: a wrong name ends the study as it begins."""
    first: list[GridCell] = []
    rest: list[GridCell] = []
    seen: set[str] = set()
    for cell in cells:
        networks = {member.network for member in cell.config.members}
        (rest if networks <= seen else first).append(cell)
        seen |= networks
    return [*first, *rest]


def _wave(cell: GridCell, known: Mapping[str, GridCell]) -> int:
    """How many runs have to end one after the other before this one can begin."""
    return 0 if cell.teacher is None else 1 + _wave(known[cell.teacher.name], known)


class UntaughtError(DivergedError):
    """A cell whose teachers have no result."""


def incomplete_cohorts(folder: Path, cells: Sequence[GridCell]) -> dict[str, str]:
    """The reason of every run that somebody resumed without a member: it is not what its row says."""
    found = {}
    for cell in cells:
        run = RunFolder(folder / "cells" / cell.name)
        retired = [m.name for m in run.config().members if m.retired] if run.complete else []
        if retired:
            found[cell.name] = f"it continued without {', '.join(retired)}, so it does not count"
    return found


def _line(cell: GridCell, result: Mapping[str, Any]) -> str:
    members = list(cell.only or result["members"])
    errors = [f"{name} {100 * result['members'][name]['test_error']:.2f}" for name in members]
    if len(errors) > 1 and not cell.only:
        errors.append(f"ensemble {100 * result['ensemble']['test_error']:.2f}")
    row = cell.cost if not cell.weight else f"{cell.cost} {cell.weight:g}"
    return f"{row:14} seed {cell.seed}  test error %: {'  '.join(errors)}  {result['seconds']:.0f} s"


def notices(folder: Path, cells: Sequence[GridCell]) -> list[str]:
    """What the runs report of their data, once for all of them."""
    runs = [RunFolder(folder / "cells" / cell.name) for cell in cells]
    found = [text for run in runs if run.complete for text in run.json("result.json").get("notices", [])]
    return list(dict.fromkeys(found))

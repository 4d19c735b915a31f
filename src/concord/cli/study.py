"""``concord study``: a grid of runs into one table with intervals; it goes on where it stopped.

    STUDY/study.toml       what is varied and what stays
    STUDY/cells/NAME/      one run folder per cell
    STUDY/.lock            held while a process is at work here
    STUDY/table.md         the tables, STUDY/study.json the same as data, STUDY/report.html with figures

Example:
    $ concord study --preset noel2017_mnist --data data/mnist --out runs/mnist
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from concord.cli import attend
from concord.cli.options import AllowCode, Json, Members, code_named, print_json, tables_of
from concord.errors import DivergedError, StoppedError, UsageError, suggestion

if TYPE_CHECKING:
    from concord.training.grid import GridCell, Study

PRESETS = ("digits", "noel2017_mnist", "noel2017_notmnist", "noel2017_cifar10")


def study(
    settings: dict[str, Any],
    out: str | Path,
    *,
    jobs: int | None = None,
    allow_code: Collection[str] = (),
    report: bool = True,
) -> dict[str, Any]:
    """Run every cell of the grid that is not finished yet, and give the figures of all of them.

    ``failed`` holds the reason of every run that gave no result; the tables are without those. UsageError if
    another process is at work in the folder.
    """
    folder = Path(out)
    varied, cells = planned(folder, settings)
    with _held(folder):
        return _figures(folder, settings, varied, cells, jobs, allow_code, report)


@contextmanager
def _held(folder: Path) -> Iterator[None]:
    """The study folder for this process alone; the lock ends with the process, however it ends."""
    from concord.files.atomic import make_folder_of
    from concord.training.folder import RunFolder, locked

    make_folder_of(folder / "study.toml")
    with locked(RunFolder(folder)):
        yield


def _figures(
    folder: Path,
    settings: dict[str, Any],
    varied: "Study",
    cells: "Sequence[GridCell]",
    jobs: int | None,
    allow_code: Collection[str],
    report: bool,
) -> dict[str, Any]:
    """What ``study`` gives, once the folder is held."""
    _claim(folder, settings)
    failed = _run_cells(folder, cells, jobs, allow_code) | _incomplete_cohorts(folder, cells)

    from concord.cli import study_view as views  # imports torch, after the processes have begun

    view = views.study_view(folder, varied, [c for c in cells if c.name not in failed])
    figures = views.write_tables(folder, view)
    _tell_notices(folder, cells)
    if report:
        views.write_study_report(folder, folder / "report.html", allow_code=allow_code)
    figures["failed"] = failed
    return figures


def planned(folder: Path, settings: Mapping[str, Any]) -> "tuple[Study, list[GridCell]]":
    """What the settings vary, and all runs of it in this folder."""
    from concord.training import grid

    varied, base = grid.parse(settings)
    return varied, grid.cells(varied, base, folder.resolve() / "cells")


def is_study(folder: Path) -> bool:
    return (folder / "study.toml").is_file()


def preset(name: str) -> dict[str, Any]:
    """Tables of a preset, over those that its kind shares; UsageError naming the presets there are."""
    if name not in PRESETS:
        raise UsageError(f"no preset {name!r}{suggestion(name, PRESETS)}; there are: {', '.join(PRESETS)}")
    kind, _, data = name.partition("_")
    tables = _preset_file(kind)
    for section, settings in (_preset_file(name) if data else {}).items():
        tables[section] = tables.get(section, {}) | settings
    return tables


def _preset_file(name: str) -> dict[str, Any]:
    import tomllib

    return tomllib.loads(files("concord.cli").joinpath(f"presets/{name}.toml").read_text(encoding="utf-8"))


def _claim(folder: Path, settings: dict[str, Any]) -> None:
    """Write study.toml, or see that the one there says the same."""
    from concord.files.atomic import write_text
    from concord.training import toml

    file = folder / "study.toml"
    begun = any((folder / "cells").glob("*/config.toml"))
    if not file.exists() or not begun:  # before its first run a study can still become another one
        write_text(file, toml.to_text(settings))
        return
    changes = toml.differences(toml.read(file), settings)
    if changes:
        listed = "\n".join(f"  {change}" for change in changes)
        raise UsageError(f"{folder} holds another study; give another --out, or undo:\n{listed}")


def _run_cells(
    folder: Path, cells: "Sequence[GridCell]", jobs: int | None, allow_code: Collection[str]
) -> dict[str, str]:
    """Train what is not complete, pupils after their teachers; gives the reason of every cell that failed."""
    from concord.cli.workers import run_all, threads_each

    todo = [cell for cell in cells if not (folder / "cells" / cell.name / "result.json").is_file()]
    if len(todo) < len(cells):
        attend.tell(f"{len(cells) - len(todo)} of {len(cells)} runs are there already")
    failed: dict[str, str] = {}
    threads = threads_each(len(cells), jobs)  # of the whole grid, so that every row is computed alike
    with attend.stop_flag() as stop, attend.counted(len(cells), len(cells) - len(todo)) as shown:
        for pupils in (False, True):
            now = [cell for cell in todo if bool(cell.teacher) == pupils]
            for cell in tuple(now):
                if cell.teacher and not (cell.teacher / "result.json").is_file():
                    now.remove(cell)
                    failed[cell.name] = f"the run of its teachers gave no result: {cell.teacher.name}"
                    shown(f"{cell.name}: {failed[cell.name]}")
            for cell, outcome in run_all(folder / "cells", now, jobs, threads, tuple(allow_code), stop):
                if isinstance(outcome, StoppedError):
                    raise StoppedError("stopped, everything is saved: the same command goes on from here")
                if isinstance(outcome, DivergedError):
                    failed[cell.name] = str(outcome)
                elif isinstance(outcome, Exception):
                    raise outcome
                shown(_line(cell, outcome) if isinstance(outcome, dict) else f"{cell.name}: {outcome}")
    return failed


def _incomplete_cohorts(folder: Path, cells: "Sequence[GridCell]") -> dict[str, str]:
    """The reason of every run that somebody resumed without a member: it is not what its row says."""
    from concord.training.folder import RunFolder

    found = {}
    for cell in cells:
        run = RunFolder(folder / "cells" / cell.name)
        retired = [m.name for m in run.config().members if m.retired] if run.complete else []
        if retired:
            found[cell.name] = f"it went on without {', '.join(retired)}, so that it does not count"
    return found


def _line(cell: "GridCell", result: dict[str, Any]) -> str:
    members = [cell.only[0]] if cell.only else list(result["members"])
    errors = [f"{name} {100 * result['members'][name]['test_error']:.2f}" for name in members]
    if len(errors) > 1:
        errors.append(f"ensemble {100 * result['ensemble']['test_error']:.2f}")
    row = cell.cost if not cell.weight else f"{cell.cost} {cell.weight:g}"
    return f"{row:12} seed {cell.seed}  test error %: {'  '.join(errors)}  {result['seconds']:.0f} s"


def _tell_notices(folder: Path, cells: "Sequence[GridCell]") -> None:
    """What the runs have to say about their data, once for all of them."""
    from concord.training.folder import RunFolder

    runs = [RunFolder(folder / "cells" / cell.name) for cell in cells]
    notices = [text for run in runs if run.complete for text in run.json("result.json").get("notices", [])]
    for text in dict.fromkeys(notices):
        attend.tell(text)


def add_to(app: typer.Typer) -> None:
    app.command(
        "study",
        help="A grid of runs (costs x weights x seeds x sets of members) into one table with intervals."
        " The same command goes on after a stop.\n\n"
        "Example: concord study --preset noel2017_mnist --data data/mnist --out runs/mnist",
    )(study_command)


def study_command(
    file: Annotated[Path | None, typer.Argument(help="A TOML file with a table of name study.")] = None,
    preset_: Annotated[str | None, typer.Option("--preset", help=f"{', '.join(PRESETS)}.")] = None,
    data: Annotated[str | None, typer.Option(help="Where the samples come from.")] = None,
    members: Members = None,
    epochs: Annotated[int | None, typer.Option(help="How often every image is seen.")] = None,
    seeds: Annotated[int | None, typer.Option(help="How many seeds: 0, 1, ...")] = None,
    published: Annotated[
        str | None, typer.Option(help="Print source 004 beside ours: mnist, notmnist, cifar10.")
    ] = None,
    jobs: Annotated[int | None, typer.Option(help="Runs at a time; default: one per core.")] = None,
    set_: Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Any setting.")] = None,
    out: Annotated[Path, typer.Option(help="The study folder.")] = Path("runs/study"),
    allow_code: AllowCode = None,
    json_: Json = False,
) -> None:
    if file and preset_:
        raise UsageError("give a file or --preset, not both")
    start = preset(preset_) if preset_ else {}
    flags: list[tuple[str, object]] = [
        ("data.source", data),
        ("train.epochs", epochs),
        ("study.published", published),
        ("study.seeds", None if seeds is None else list(range(seeds))),
    ]
    tables = tables_of(file, members, flags, set_ or [], start)
    figures = study(tables, out, jobs=jobs, allow_code=[*(allow_code or []), *code_named(tables, members)])
    if json_:
        print_json(figures)
    else:
        print((out / "table.txt").read_text())
        print(f"tables: {out / 'table.md'}   report: {out / 'report.html'}")
    for name, reason in figures["failed"].items():
        attend.tell(f"no result: {name}: {reason}")
    if figures["failed"]:
        raise typer.Exit(DivergedError.exit_status)

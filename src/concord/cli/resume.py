"""``concord resume``: go on exactly where a run stopped.

Example:
    $ concord resume runs/first
"""

from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from concord.cli import attend
from concord.cli.options import AllowCode, Json, Run, Strict
from concord.cli.score_text import report_result
from concord.cli.train import run_job
from concord.errors import CheckpointError, UsageError, suggestion

if TYPE_CHECKING:
    from concord.training.config import Config
    from concord.training.folder import RunFolder

RESULT = ("members", "ensemble", "agreement")  # keys of result.json that are shown


def resume(
    run: str | Path,
    *,
    settings: Sequence[str] = (),
    without: Collection[str] = (),
    allow_changes: bool = False,
    strict: bool = False,
    allow_code: Collection[str] = (),
    quiet: bool = True,
    stop: Callable[[], bool] | None = None,
) -> dict[str, Any]:
    """Go on exactly where a run stopped; gives what ``result.json`` holds.

    ``without`` names members that stay as they are from here on and that nobody learns from any more, such as
    one that diverged. ``strict``: CheckpointError if the newest checkpoint is damaged, where else an earlier
    one is used.
    """
    from concord.training.folder import RunFolder

    folder = RunFolder(Path(run))
    with attend.stop_flag(stop) as stopping:
        asked = _asked(folder, settings, without)
        unchanged = not (settings or without or allow_changes)
        if folder.complete and unchanged and _finished(folder, strict):
            return {**folder.json("result.json", RESULT), "run": str(run)}
        return _go_on(folder, asked, allow_changes, strict, allow_code, quiet, stopping)


def _finished(folder: "RunFolder", strict: bool) -> bool:
    from concord.training.final import finished

    return finished(folder, attend.tell, strict)


def _asked(folder: "RunFolder", settings: Sequence[str], without: Collection[str]) -> "Config":
    """The run's configuration with what is changed in it; UsageError for a member that it has not."""
    from concord.training import toml

    tables = folder.config().model_dump(mode="json", exclude_none=True)
    members = {member["name"]: member for member in tables["members"]}
    for name in without:
        if name not in members:
            near = suggestion(name, members)
            raise UsageError(f"--without {name}: no such member{near}; there are: {', '.join(members)}")
        if folder.complete:
            raise UsageError(f"--without {name}: {folder.path} is complete, and nothing is left to learn")
        members[name]["retired"] = True
    for setting in settings:
        toml.assign(tables, setting)
    return toml.parse(tables, "configuration with what was changed")


def _go_on(
    folder: "RunFolder",
    asked: "Config",
    allow_changes: bool,
    strict: bool,
    allow_code: Collection[str],
    quiet: bool,
    stop: Callable[[], bool],
) -> dict[str, Any]:
    from concord.cli import assemble, machine
    from concord.cli.interface import check_same, interface_of
    from concord.cli.teachers import load_teachers
    from concord.training import checkpoint

    config = machine.resolved(asked)
    machine.settle(config)  # before anything is computed
    splits = assemble.load_again(config, "--set data.source=PATH", attend.reading(stop, quiet))
    found, _ = checkpoint.newest(folder.checkpoints, strict)
    # pixels are normalised as they were from the start, whatever data is trained on now
    interface = interface_of(folder, found.state if found else {}, attend.tell)
    check_same(interface, splits, config.data.source)
    members = assemble.build_members(config, interface, allow_code, saved=found is not None)
    if found is None:
        load_teachers(config, members, interface)
    assemble.check_memory(config, members, interface.shape, len(splits.train))
    job = assemble.make_job(folder, config, splits, members, interface, stop, attend.tell)
    with suppress(CheckpointError):  # without a stamp nobody knows where the run was
        for difference in machine.elsewhere(folder.json("stamp.json"), config):
            attend.tell(f"{difference}: the run goes on, but not bit for bit as it would have there")
    return run_job(job, interface, quiet, allow_changes, strict)


def add_to(app: typer.Typer) -> None:
    app.command("resume", help="Go on exactly where a run stopped.\n\nExample: concord resume runs/first")(
        resume_command
    )


def resume_command(
    run: Run,
    set_: Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change this.")] = None,
    allow_changes: Annotated[
        bool, typer.Option("--allow-changes", help="Go on although configuration or data differ.")
    ] = False,
    without: Annotated[
        list[str] | None,
        typer.Option(metavar="MEMBER", help="It stays as it is, and the others go on; may be repeated."),
    ] = None,
    strict: Strict = False,
    allow_code: AllowCode = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress on stderr.")] = False,
    json_: Json = False,
) -> None:
    result = resume(
        run,
        settings=set_ or [],
        without=without or [],
        allow_changes=allow_changes,
        strict=strict,
        allow_code=allow_code or [],
        quiet=quiet,
    )
    report_result(result, json_)

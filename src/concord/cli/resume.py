"""``concord resume``: continue a run exactly where it stopped.

Example:
    $ concord resume runs/first
"""

from typing import Annotated

import typer

from concord.cli import complete, progress
from concord.cli.options import AllowCode, Json, Quiet, Run, Strict
from concord.cli.score_text import report_result


def add_to(app: typer.Typer) -> None:
    app.command(
        "resume", help="Continue a run exactly where it stopped.\n\nExample: concord resume runs/first"
    )(resume_command)


def resume_command(
    run: Run,
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="Change a setting, for example train.epochs=40 with --allow-changes; may be repeated.",
            autocompletion=complete.settings,
        ),
    ] = None,
    allow_changes: Annotated[
        bool,
        typer.Option("--allow-changes", help="Continue although the configuration or the data have changed."),
    ] = False,
    without: Annotated[
        list[str] | None,
        typer.Option(
            metavar="MEMBER",
            help="Freeze this member and continue with the others; may be repeated.",
            autocompletion=complete.members,
        ),
    ] = None,
    strict: Strict = False,
    allow_code: AllowCode = None,
    quiet: Quiet = False,
    json_: Json = False,
) -> None:
    from concord.api.train import resume

    with progress.stop_flag() as stop, progress.training(quiet) as observer:
        result = resume(
            run,
            settings=set_ or [],
            without=without or [],
            allow_changes=allow_changes,
            strict=strict,
            allow_code=allow_code or [],
            observer=observer,
            stop=stop,
        )
    report_result(result.to_dict(), json_)

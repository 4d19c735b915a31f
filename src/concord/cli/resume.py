"""``concord resume``: go on exactly where a run stopped.

Example:
    $ concord resume runs/first
"""

from typing import Annotated

import typer

from concord.cli import progress
from concord.cli.options import AllowCode, Json, Run, Strict
from concord.cli.score_text import report_result


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

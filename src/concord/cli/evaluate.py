"""``concord eval``.

Example:
    $ concord eval runs/first --json
"""

from typing import Annotated

import typer

from concord.cli import progress
from concord.cli.options import AllowCode, DataPath, Json, Run, Strict
from concord.cli.score_text import against_texts, recall_text, report_result, uncertainty_text


def add_to(app: typer.Typer) -> None:
    app.command("eval", help="Scores of a run.\n\nExample: concord eval runs/first --json")(eval_command)


def eval_command(
    run: Run,
    data: DataPath = None,
    against: Annotated[
        list[str] | None,
        typer.Option(
            metavar="DATA",
            help="Other data of any classes: how well the run separates their images from its test images;"
            " may be repeated.",
        ),
    ] = None,
    allow_code: AllowCode = None,
    strict: Strict = False,
    snapshots: Annotated[
        bool,
        typer.Option("--snapshots", help="Members at the end of each cycle of train.cycles, as an ensemble."),
    ] = False,
    json_: Json = False,
) -> None:
    from concord.api.evaluate import evaluate

    with progress.stop_flag() as stop, progress.training() as observer:
        result = evaluate(
            run,
            data=data,
            against=against or [],
            allow_code=allow_code or [],
            strict=strict,
            snapshots=snapshots,
            observer=observer,
            stop=stop,
        )
    report_result(result.to_dict(), json_)
    if not json_ and "recall" in result:
        if result["uncertainty"] is not None:
            print("\n" + uncertainty_text(result.to_dict()))
        for text in against_texts(result):
            print("\n" + text)
        print("\n" + recall_text(result.to_dict()))

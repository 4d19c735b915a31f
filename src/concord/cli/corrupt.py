"""``concord corrupt``: the members of a run on corrupted test images.

Example:
    $ concord corrupt runs/first --limit 1000
"""

from typing import Annotated

import typer

from concord.cli import progress
from concord.cli.options import AllowCode, DataPath, Json, Run, print_json


def add_to(app: typer.Typer) -> None:
    app.command(
        "corrupt",
        help="Error of the members of a run on test images with noise, blur, weather and digital faults: 15"
        " corruptions of 5 strengths each, concord's own. The figures are kept in RUN/corruptions.json, and"
        " concord report shows them.\n\n"
        "Example: concord corrupt runs/first --limit 1000",
    )(corrupt_command)


def corrupt_command(
    run: Run,
    limit: Annotated[
        int | None, typer.Option(min=1, help="Number of test images, stratified by class; default: all.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of what the corruptions draw.")] = 0,
    data: DataPath = None,
    allow_code: AllowCode = None,
    json_: Json = False,
) -> None:
    from concord.api.corrupt import corrupt
    from concord.report.corruptions import corruption_tables
    from concord.report.tables import as_text

    with progress.stop_flag() as stop, progress.tally() as observer:
        found = corrupt(
            run, data=data, limit=limit, seed=seed, allow_code=allow_code or [], observer=observer, stop=stop
        )
    if json_:
        print_json(found.to_dict())
        return
    print("\n\n".join(map(as_text, corruption_tables(found))))

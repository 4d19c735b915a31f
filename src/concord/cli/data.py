"""``concord data check`` and ``concord data get``.

Example:
    $ concord data check photos/
"""

from pathlib import Path
from typing import Annotated

import typer

from concord.cli import progress
from concord.cli.options import Json, print_json

Path_ = Annotated[
    str,
    typer.Argument(
        metavar="PATH", help="Name or path of the data, as for `concord train --data`.", show_default=False
    ),
]


def add_to(app: typer.Typer) -> None:
    verbs = typer.Typer(help="Check and download data sets.", no_args_is_help=True)
    verbs.command(
        "check",
        help="Check a data set: images of classes, with masks or with boxes. Class counts, damaged files and"
        " annotations, duplicates, leakage between splits. Exit status 1 if it cannot be trained on."
        "\n\nExample: concord data check photos/",
    )(check_command)
    verbs.command(
        "get",
        help="Download a data set with torchvision (needs an internet connection).\n\n"
        "Example: concord data get mnist",
    )(get_command)
    app.add_typer(verbs, name="data")


def check_command(
    source: Path_,
    task: Annotated[
        str | None,
        typer.Option(help="classify, segment (masks) or detect (boxes); default: as the files look."),
    ] = None,
    json_: Json = False,
) -> None:
    from concord.data.checked import check
    from concord.runs.watching import reading

    with progress.stop_flag() as stop:
        report = check(source, task=task, watch=reading(progress.Lines(), stop))
    if json_:
        print_json(report.as_dict())
    else:
        print("\n".join(report.lines()))
    if not report.ok:
        raise typer.Exit(1)


def get_command(
    name: Annotated[
        str, typer.Argument(help="Data set: mnist, fashionmnist, kmnist or cifar10.", show_default=False)
    ],
    into: Annotated[Path | None, typer.Option(help="Folder to create; default: data/NAME.")] = None,
    json_: Json = False,
) -> None:
    from concord.api.data import data_get

    folder = data_get(name, into)
    if json_:
        print_json({"name": name, "folder": str(folder)})
    else:
        print(f"{folder} is ready: concord train --data {folder} --members noel2017_st,noel2017_m")

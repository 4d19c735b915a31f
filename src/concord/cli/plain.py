"""``concord plain train`` and ``concord plain show``: the network of the USTH CNN in plain Python.

Example:
    $ concord plain train animals.toml --data photos/animals
"""

from pathlib import Path
from typing import Annotated

import typer

from concord.cli import plain_show, progress
from concord.cli.options import Json, print_json


def add_to(app: typer.Typer) -> None:
    verbs = typer.Typer(
        help="Networks in plain Python, small enough to follow by hand.", no_args_is_help=True
    )
    verbs.command(
        "train",
        help="Train the USTH CNN in plain Python on a folder of pictures.\n\n"
        "Example: concord plain train animals.toml --data photos/animals",
    )(train_command)
    verbs.command(
        "show",
        help="One training step of a tiny network with every number, forward and backward.\n\n"
        "Example: concord plain show",
    )(plain_show.show_command)
    app.add_typer(verbs, name="plain")


def train_command(
    config: Annotated[
        Path,
        typer.Argument(
            metavar="CONFIG.toml", help="TOML file of sizes, epochs and seed.", show_default=False
        ),
    ],
    data: Annotated[Path, typer.Option(help="Folder of pictures.", show_default=False)],
    out: Annotated[
        Path | None, typer.Option(help="Folder for the results; default: runs/plain-NAME.")
    ] = None,
    json_: Json = False,
) -> None:
    from concord.api.plain import plain_train
    from concord.files.text import printable

    chosen = out or _next(Path("runs") / f"plain-{config.stem}")
    show = (lambda text: None) if json_ else print
    found = plain_train(config, data, out=chosen, show=show, observer=progress.Quiet())
    if json_:
        print_json(found)
        return
    for row in found["pictures"]:
        file, predicted, label = (printable(row[key]) for key in ("file", "predicted", "label"))
        mark = "" if predicted == label else f"  (true: {label})"
        print(f"{file:24} {predicted}  {row['confidence']:.3f}{mark}")
    print(f"{found['correct']}/{len(found['pictures'])} correct after training, {found['seconds']:.0f} s")
    print(f"{found['out']}/curve.svg, {found['out']}/steps.csv")


def _next(folder: Path) -> Path:
    """The folder, with the first free number appended if it exists."""
    names = [folder, *(folder.with_name(f"{folder.name}-{n}") for n in range(2, 10_000))]
    return next(name for name in names if not name.exists())

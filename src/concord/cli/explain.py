"""``concord explain``: one page about a network: its layers, its equations, and a drawing unfolded in time.

Example:
    $ concord explain lstm
"""

import re
from pathlib import Path
from typing import Annotated

import typer

from concord.cli import complete
from concord.cli.options import Json, print_json
from concord.files.place import require_folder_of


def add_to(app: typer.Typer) -> None:
    app.command(
        "explain",
        help="Explain one network on an HTML page: input and output, layers with parameters and MACs, "
        "receptive field; of networks over steps equations, a drawing unfolded in time, and gradients "
        "over time.\n\n"
        "Example: concord explain lstm --to lstm.html",
    )(explain_command)


def explain_command(
    network: Annotated[
        str,
        typer.Argument(
            metavar="NETWORK",
            help="Name from the zoo, torchvision or timm; sizes in brackets: 'lstm(hidden=10)'.",
            show_default=False,
            autocompletion=complete.networks,
        ),
    ],
    to: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="HTML file to write. Default: NETWORK.html, with --json none."),
    ] = None,
    json_: Json = False,
) -> None:
    if to:
        require_folder_of(to)
    target = to or (None if json_ else Path(f"{_plain(network)}.html"))
    from concord.api.explain import explain

    explained = explain(network, target)
    if json_:
        print_json({**explained.to_dict(), "page": None if target is None else str(target)})
    elif target is not None:
        print(f"{target} ({target.stat().st_size:,} bytes): open it in any browser")


def _plain(network: str) -> str:
    """``lstm(hidden=10)`` -> ``lstm-hidden-10``: a name that needs no quotes."""
    return re.sub(r"\W+", "-", network).strip("-")

"""``concord explain field``: the receptive field of a unit, drawn on an image.

Example:
    $ concord explain field three_layer --image cat.png --unit 0,8
"""

import re
from pathlib import Path
from typing import Annotated

import typer

from concord.cli import complete
from concord.cli.grids import read_size
from concord.cli.options import Json, print_json
from concord.files.place import require_folder_of


def add_to(verbs: typer.Typer) -> None:
    verbs.command(
        "field",
        help="Draw the receptive field of a unit on an image, and beside it the gradient: an HTML page.\n\n"
        "Example: concord explain field three_layer --image cat.png --unit 0,8 --to field.html",
    )(field_command)


def field_command(
    network: Annotated[
        str,
        typer.Argument(
            metavar="NETWORK",
            help="Name from the zoo, torchvision or timm that takes pictures.",
            show_default=False,
            autocompletion=complete.networks,
        ),
    ],
    image: Annotated[
        Path,
        typer.Option(
            metavar="FILE", help="Image, scaled to the usual input of the network.", show_default=False
        ),
    ],
    unit: Annotated[
        str,
        typer.Option(metavar="ROW,COLUMN", help="Place in the map, counted from 0.", show_default=False),
    ],
    layer: Annotated[
        str | None,
        typer.Option(
            metavar="PATH", help="Layer whose map it is, as in concord cost. Default: the last map."
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the weights.")] = 0,
    to: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="HTML file to write. Default: NETWORK-field.html, with --json none."
        ),
    ] = None,
    json_: Json = False,
) -> None:
    if to:
        require_folder_of(to)
    place = read_size("--unit", unit)
    target = to or (None if json_ else Path(f"{plain_name(network)}-field.html"))
    from concord.api.explain import explain_field
    from concord.report.field_page import seen_table
    from concord.report.tables import as_text

    both = (place, place) if isinstance(place, int) else place
    seen = explain_field(network, image, both, layer=layer, seed=seed, to=target)
    if json_:
        print_json({**seen.to_dict(), "page": None if target is None else str(target)})
        return
    print(as_text(seen_table(seen)))
    print(f"\n{target}: open it in any browser")


def plain_name(network: str) -> str:
    """``lstm(hidden=10)`` -> ``lstm-hidden-10``: a name that needs no quotes."""
    return re.sub(r"\W+", "-", network).strip("-")

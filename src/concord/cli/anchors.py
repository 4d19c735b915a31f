"""``concord anchors``: sizes of anchors for a detector.

Example:
    $ concord anchors cells/ -k 5 --size 416
"""

from pathlib import Path
from typing import Annotated

import typer

from concord.cli.options import Json, print_json
from concord.files.place import require_folder_of


def add_to(app: typer.Typer) -> None:
    app.command(
        "anchors",
        help="Choose sizes of anchors for a detector by k-means with 1 - IoU (YOLO v2 and v3).\n\n"
        "Example: concord anchors cells/ -k 5 --size 416 --to anchors.html",
    )(anchors_command)


def anchors_command(
    data: Annotated[
        str,
        typer.Argument(
            metavar="DATA",
            help="Images with boxes in the VOC, YOLO or COCO format: a folder, data.yaml or a .json file.",
            show_default=False,
        ),
    ],
    k: Annotated[int, typer.Option("-k", "--number", help="Number of anchors.")] = 5,
    size: Annotated[
        int | None,
        typer.Option(help="Pixels of the longest side of images. Default: the files as they are."),
    ] = None,
    centre: Annotated[str, typer.Option(help="Centre of a cluster of boxes: mean or median.")] = "mean",
    part: Annotated[str, typer.Option(help="Part whose boxes count: train, valid, test or all.")] = "all",
    seed: Annotated[int, typer.Option(help="Seed of the starts.")] = 0,
    to: Annotated[
        Path | None, typer.Option(metavar="FILE", help="HTML page or SVG figure to write. Default: none.")
    ] = None,
    json_: Json = False,
) -> None:
    if to:
        require_folder_of(to)
    from concord.api.anchors import anchors
    from concord.report.anchors_page import anchors_text

    found = anchors(data, k, size=size, centre=centre, part=part, seed=seed, to=to)
    if json_:
        print_json({**found.to_dict(), "page": None if to is None else str(to)})
    else:
        print(anchors_text(found))

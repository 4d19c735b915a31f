"""The options of ``concord predict``."""

from pathlib import Path
from typing import Annotated

import typer

Files = Annotated[
    list[str] | None,
    typer.Argument(
        help="Images, folders, globs, or -; of a run on sequences .csv, .jsonl and text files.",
        show_default=False,
    ),
]
Texts = Annotated[list[str] | None, typer.Option(help="A text itself, for a run on texts; may be repeated.")]
Top = Annotated[int, typer.Option(min=1, help="Number of classes, likeliest first.")]
Probabilities = Annotated[bool, typer.Option("--probabilities", help="Add the probability of every class.")]
Sets = Annotated[
    str | None,
    typer.Option(
        metavar="METHOD",
        help="Add the set of labels that has the true one as often as train.coverage says: lac, aps or raps.",
    ),
]
Csv = Annotated[Path | None, typer.Option("--csv", help="Write a table to this file.")]
To = Annotated[Path | None, typer.Option(metavar="FOLDER", help="Write masks or boxes into this folder.")]
Format = Annotated[
    str | None, typer.Option("--format", help="Of --to: png (default) or coco; of boxes also json and voc.")
]
Score = Annotated[float | None, typer.Option(help="Least confidence of a box that is shown; default: 0.25.")]
AnythingUnread = Annotated[bool, typer.Option("--strict", help="Exit 3 if anything cannot be read.")]

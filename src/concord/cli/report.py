"""``concord report``: one HTML file about one or several runs, or a whole study; a model card in Markdown.

Example:
    $ concord report runs/first --to report.html
"""

import shlex
from pathlib import Path
from typing import Annotated

import typer

from concord.cli import complete, progress
from concord.cli.options import AllowCode, DataPath, Json, print_json
from concord.errors import UsageError


def add_to(app: typer.Typer) -> None:
    app.command(
        "report",
        help="Write one HTML file (figures, tables, confusion, costs) or a model card in Markdown.\n\n"
        "Example: concord report runs/first --to report.html\n\n"
        "Example: concord report runs/first --to runs/first/MODEL_CARD.md",
    )(report_command)


def report_command(
    runs: Annotated[
        list[Path],
        typer.Argument(
            help="Run folders, or one study folder.",
            show_default=False,
            autocompletion=complete.runs_and_studies,
        ),
    ],
    to: Annotated[
        Path | None,
        typer.Option(help="File to write, .html or .md; default: report.html in the first folder."),
    ] = None,
    data: DataPath = None,
    allow_code: AllowCode = None,
    json_: Json = False,
) -> None:
    for path in runs:
        if path.suffix.lower() in (".html", ".md") and not path.is_dir():
            raise UsageError(f"{path}: the file to write is given with --to {shlex.quote(str(path))}")
    from concord.api.report import is_card, write_report

    written = write_report(runs, to, data=data, allow_code=allow_code or [], observer=progress.Lines())
    if json_:
        print_json({"report": str(written), "bytes": written.stat().st_size})
    else:
        where = "a model card" if is_card(written) else "open it in any browser"
        print(f"{written} ({written.stat().st_size:,} bytes): {where}")

"""``concord report``: one HTML file about one or several runs, or a whole study; a model card in Markdown.

Example:
    $ concord report runs/first --to report.html
"""

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Annotated

import typer

from concord.cli import complete
from concord.cli.options import AllowCode, DataPath, Json, print_json
from concord.errors import UsageError


def write_report(
    runs: Sequence[str | Path],
    to: str | Path | None = None,
    *,
    data: str | None = None,
    allow_code: Collection[str] = (),
) -> Path:
    """Write the report of these runs (or of one study folder) and give its path.

    Default: report.html in the first folder. A path that ends in .md gets a model card of the first run; the
    others tell how much it varies, and must be the same training with other seeds, else UsageError.
    """
    from concord.cli.study import is_study
    from concord.files.atomic import write_text

    paths = [Path(run) for run in runs]
    studies = [path for path in paths if is_study(path)]
    target = Path(to) if to else paths[0] / "report.html"
    if is_card(target):
        _refuse_for_card(studies, data, allow_code)
        from concord.cli.card import card_text

        write_text(target, card_text(paths))
        return target
    if studies and len(paths) > 1:
        raise UsageError(f"{studies[0]} is a study, which has a report of its own; give it alone")
    from concord.cli.study_view import write_study_report
    from concord.cli.views import run_view
    from concord.report.page import page

    if studies:
        return write_study_report(studies[0], target, data=data, allow_code=allow_code)
    views = [run_view(path, data, allow_code) for path in paths]
    title = views[0].name if len(views) == 1 else f"{len(views)} runs"
    write_text(target, page(views, title=f"concord: {title}"))
    return target


def is_card(target: Path) -> bool:
    return target.suffix.lower() in (".md", ".markdown")


def _refuse_for_card(studies: Sequence[Path], data: str | None, allow_code: Collection[str]) -> None:
    """A card has the figures that a run ended with: it scores nothing anew, and loads no network."""
    if data or allow_code:
        raise UsageError("a model card has the figures of the run: give neither --data nor --allow-code")
    if studies:
        raise UsageError(
            f"{studies[0]} is a study; a model card is about one training: name the runs of one row,"
            f" {studies[0] / 'cells'}/..., whose seeds differ"
        )


def add_to(app: typer.Typer) -> None:
    app.command(
        "report",
        help="One HTML file: tables, curves, filters, confusion, costs. Or a model card in Markdown.\n\n"
        "Example: concord report runs/first --to report.html\n\n"
        "Example: concord report runs/first --to runs/first/MODEL_CARD.md",
    )(report_command)


def report_command(
    runs: Annotated[
        list[Path],
        typer.Argument(
            help="Run folders, or one study.", show_default=False, autocompletion=complete.runs_and_studies
        ),
    ],
    to: Annotated[Path | None, typer.Option(help="The file to write, .html or .md.")] = None,
    data: DataPath = None,
    allow_code: AllowCode = None,
    json_: Json = False,
) -> None:
    written = write_report(runs, to, data=data, allow_code=allow_code or [])
    if json_:
        print_json({"report": str(written), "bytes": written.stat().st_size})
    else:
        where = "a model card" if is_card(written) else "open it in any browser"
        print(f"{written} ({written.stat().st_size:,} bytes): {where}")

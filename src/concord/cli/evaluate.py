"""``concord eval`` and ``concord predict``.

Example:
    $ concord predict runs/first photos/*.jpg --json
"""

import csv
import io
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from concord.cli import progress
from concord.cli.options import AllowCode, DataPath, Json, Run, Strict, print_json
from concord.cli.score_text import recall_text, report_result
from concord.errors import UsageError

FORMULA = ("=", "+", "-", "@", "\t", "\r")  # a spreadsheet would run a text that begins so


def add_to(app: typer.Typer) -> None:
    app.command("eval", help="Scores of a run.\n\nExample: concord eval runs/first --json")(eval_command)
    app.command(
        "predict",
        help="Labels for files, folders and globs, in the order given; - stands for paths on standard input,"
        " one on each line.\n\n"
        "Example: concord predict runs/first photos/ 'more/*.png' --csv labels.csv",
    )(predict_command)


def eval_command(
    run: Run,
    data: DataPath = None,
    allow_code: AllowCode = None,
    strict: Strict = False,
    json_: Json = False,
) -> None:
    from concord.api.evaluate import evaluate

    with progress.stop_flag() as stop, progress.training() as observer:
        result = evaluate(
            run, data=data, allow_code=allow_code or [], strict=strict, observer=observer, stop=stop
        )
    report_result(result, json_)
    if not json_:
        print("\n" + recall_text(result))


def predict_command(
    run: Run,
    files: Annotated[list[str], typer.Argument(help="Images, folders, globs, or -.", show_default=False)],
    member: Annotated[str, typer.Option(help="A member's name, or ensemble.")] = "ensemble",
    csv_: Annotated[Path | None, typer.Option("--csv", help="Write a table to this file.")] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Exit 3 if any image cannot be read.")] = False,
    allow_code: AllowCode = None,
    json_: Json = False,
) -> None:
    from concord.api.evaluate import predict

    chosen = list(_with_input(files))
    rows = predict(run, chosen, member=member, allow_code=allow_code or [], observer=progress.Quiet())
    if csv_:
        _write_csv(csv_, rows)
    if json_:
        print_json(rows)
    elif not csv_:
        _print_rows(rows)
    bad = [row for row in rows if "error" in row]
    if bad:
        progress.tell(f"{len(bad)} of {len(rows)} images could not be read")
        if strict:
            raise typer.Exit(3)


def _with_input(files: Sequence[str]) -> Iterator[str]:
    """What was typed, with the lines of standard input in the place of ``-``; a name may be any bytes."""
    for text in files:
        if text != "-":
            yield text
        elif sys.stdin is None:
            raise UsageError("- stands for paths from standard input, which is closed")
        else:
            yield from map(os.fsdecode, filter(None, sys.stdin.buffer.read().split(b"\n")))


def _print_rows(rows: Sequence[dict[str, Any]]) -> None:
    from concord.data.text import printable

    for row in rows:
        said = row.get("error") or f"{printable(row['label'])}  {row['confidence']:.3f}"
        print(f"{printable(row['file'])}  {said}")


def _write_csv(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    """Quoted text; what a spreadsheet would take for a formula gets a leading apostrophe."""
    from concord.files.atomic import write_text

    table = io.StringIO(newline="")
    writer = csv.writer(table, quoting=csv.QUOTE_NONNUMERIC)
    writer.writerow(["file", "label", "confidence", "error"])
    for row in rows:
        writer.writerow([_safe(row.get(key)) for key in ("file", "label", "confidence", "error")])
    write_text(path, table.getvalue())


def _safe(value: object) -> object:
    return "'" + value if isinstance(value, str) and value.startswith(FORMULA) else value

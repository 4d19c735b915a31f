"""``concord predict``: labels, masks or boxes for image files; labels and bits for sequences.

Example:
    $ concord predict runs/first photos/*.jpg --json
"""

import csv
import io
import json
import os
import shlex
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from concord.cli import progress
from concord.cli.options import AllowCode, Json, MemberName, Run, print_json
from concord.cli.predict_options import (
    AnythingUnread,
    Csv,
    Files,
    Format,
    Probabilities,
    Score,
    Sets,
    Texts,
    To,
    Top,
)
from concord.consensus.names import ENSEMBLE
from concord.errors import DataError, UsageError, amount
from concord.files.place import require_folder_of

if TYPE_CHECKING:
    from concord.runs.predict import Prediction
    from concord.runs.sequences.predict import SequencePrediction
    from concord.runs.vision.found import BoxPrediction, MaskPrediction

    Labelled = Prediction | SequencePrediction
    Row = Labelled | MaskPrediction | BoxPrediction

FORMULA = ("=", "+", "-", "@", "\t", "\r")  # a spreadsheet would run a text that begins so


def add_to(app: typer.Typer) -> None:
    app.command(
        "predict",
        help="Labels for files, folders and globs, in the order given; - stands for paths on standard input,"
        " one on each line. Of a run that finds masks or boxes --to FOLDER writes them. The exit status is 3"
        " if nothing could be read.\n\n"
        "Example: concord predict runs/first photos/ 'more/*.png' --top 3 --csv labels.csv\n\n"
        "Example: concord predict runs/cells slides/ --to found --format voc",
    )(predict_command)


def predict_command(
    run: Run,
    files: Files = None,
    member: MemberName = ENSEMBLE,
    text: Texts = None,
    top: Top = 1,
    probabilities: Probabilities = False,
    sets: Sets = None,
    csv_: Csv = None,
    to: To = None,
    format_: Format = None,
    score: Score = None,
    strict: AnythingUnread = False,
    allow_code: AllowCode = None,
    json_: Json = False,
) -> None:
    files = files or []
    if not files and not text:
        raise UsageError(f"name the files after the run: concord predict {shlex.quote(str(run))} FILE ...")
    _require_run_first(run, files)
    if csv_ and csv_.suffix.lower() not in ("", ".csv", ".txt"):
        raise UsageError(f"--csv {csv_}: the table is text with commas, so its name must end in .csv")
    if csv_:
        require_folder_of(csv_)
    if format_ and not to:
        raise UsageError(f"--format {format_} is of the files that --to FOLDER writes: add --to")
    from concord.api.evaluate import predict
    from concord.runs.kinds import kind_of_run

    if csv_ and kind_of_run(run) == "vision":
        raise UsageError("--csv is a table of labels; masks and boxes are written with --to FOLDER")
    rows = predict(
        run,
        list(_with_input(files)),
        texts=text or [],
        member=member,
        top=top,
        probabilities=probabilities,
        sets=sets,
        score=score,
        to=to,
        format=format_,
        allow_code=allow_code or [],
        observer=progress.Lines(),
    )
    bad = sum(row.error is not None for row in rows)
    if to and bad < len(rows):
        progress.tell(f"masks or boxes are in {to}")
    _show(rows, csv_, json_)
    if bad:
        progress.tell(f"{bad:,} of {amount(len(rows), _kind(rows))} could not be read")
        if strict or bad == len(rows):
            raise typer.Exit(DataError.exit_status)


def _show(rows: "Sequence[Row]", table: Path | None, as_json: bool) -> None:
    """As JSON, as a table in a file, or as lines."""
    if table:
        from concord.files.text import printable
        from concord.runs.vision.found import BoxPrediction, MaskPrediction

        _write_csv(table, [row for row in rows if not isinstance(row, MaskPrediction | BoxPrediction)])
        bad = sum(row.error is not None for row in rows)
        unread = f"; {bad} could not be read" if bad else ""
        written = f"{printable(table)}: labels of {amount(len(rows) - bad, _kind(rows))}{unread}"
        print(written, file=sys.stderr if as_json else None)
    if as_json:
        print_json([row.to_dict() for row in rows])
    elif not table:
        _print_rows(rows)


def _kind(rows: "Sequence[Row]") -> str:
    from concord.runs.sequences.predict import SequencePrediction

    return "sequence" if any(isinstance(row, SequencePrediction) for row in rows) else "image"


def _require_run_first(run: Path, files: Sequence[str]) -> None:
    """UsageError if a run stands among the files and none stands before them."""
    runs = [file for file in files if Path(file, "config.toml").is_file()]
    if runs and not (run / "config.toml").is_file():
        others = shlex.join([str(run), *(file for file in files if file != runs[0])])
        raise UsageError(f"the run comes first: concord predict {shlex.quote(runs[0])} {others}")


def _with_input(files: Sequence[str]) -> Iterator[str]:
    """What was typed, with the lines of standard input in the place of ``-``; a name may be any bytes."""
    for text in files:
        if text != "-":
            yield text
        elif sys.stdin is None:
            raise UsageError("- stands for paths from standard input, which is closed")
        else:
            yield from map(os.fsdecode, filter(None, sys.stdin.buffer.read().split(b"\n")))


def _print_rows(rows: "Sequence[Row]") -> None:
    from concord.files.text import printable

    for row in rows:
        print("  ".join((printable(row.file), *_words(row))))


def _words(row: "Row") -> Iterator[str]:
    from concord.files.text import printable
    from concord.runs.vision.found import BoxPrediction, MaskPrediction

    if row.error is not None:
        yield row.error.removeprefix(printable(row.file)).lstrip(":, ")
        return
    if isinstance(row, MaskPrediction | BoxPrediction):
        yield row.summary()
        return
    for label, share in row.top or ((row.label, row.confidence),):
        yield f"{printable(label)}  {share:.3f}"
    if (bits := getattr(row, "bits", None)) is not None:
        yield f"{bits:.3f} bits per character"
    if (inside := getattr(row, "label_set", None)) is not None:
        yield f"{{{', '.join(map(printable, inside))}}}"
    if row.probabilities is not None:
        yield f"({', '.join(f'{printable(name)} {p:.3f}' for name, p in row.probabilities.items())})"


def _write_csv(path: Path, rows: "Sequence[Labelled]") -> None:
    """Quoted text; what a spreadsheet would take for a formula gets a leading apostrophe.

    After file, label, confidence and error come the second and further labels with their probabilities, a
    column for each class, and the set of labels as a list of JSON.
    """
    from concord.files.atomic import write_text

    more = max((len(row.top) for row in rows), default=0)
    classes = list(next((row.probabilities for row in rows if row.probabilities), ()))
    table = io.StringIO(newline="")
    writer = csv.writer(table, quoting=csv.QUOTE_NONNUMERIC)
    ranks = [f"{what}_{rank}" for rank in range(2, more + 1) for what in ("label", "confidence")]
    sets = [getattr(row, "label_set", None) for row in rows]
    last = ["set"] if any(sets) else []
    columns = (f"probability of {name}" for name in classes)
    header = ["file", "label", "confidence", "error", *ranks, *columns, *last]
    writer.writerow([_safe(name) for name in header])
    for row, inside in zip(rows, sets, strict=True):
        shares = row.probabilities or {}
        cells: list[object] = [row.file, row.label, row.confidence, row.error]
        cells += [value for pair in row.top[1:] for value in pair] or [None] * len(ranks)
        cells += [shares.get(name) for name in classes]
        cells += [json.dumps(inside, ensure_ascii=False) if inside else None] * len(last)
        writer.writerow([_safe(cell) for cell in cells])
    write_text(path, table.getvalue())


def _safe(value: object) -> object:
    return "'" + value if isinstance(value, str) and value.startswith(FORMULA) else value

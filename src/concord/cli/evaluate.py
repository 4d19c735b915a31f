"""``concord eval`` and ``concord predict``.

Example:
    $ concord predict runs/first photos/*.jpg --json
"""

import csv
import io
import os
import sys
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from concord.cli import attend
from concord.cli.options import AllowCode, DataPath, Json, Run, Strict, print_json
from concord.cli.score_text import recall_text, report_result
from concord.errors import UsageError

if TYPE_CHECKING:
    from torch import Tensor

    from concord.cli.loading import Loaded

BATCH = 256
FORMULA = ("=", "+", "-", "@", "\t", "\r")  # a spreadsheet would run a text that begins so


def evaluate(
    run: str | Path, *, data: str | None = None, allow_code: Collection[str] = (), strict: bool = False
) -> dict[str, Any]:
    """Scores of a run on its own test split, or on that of other data with the same classes.

    ``strict``: CheckpointError if the newest checkpoint is damaged, where else an earlier one is used.
    """
    from concord.cli import assemble
    from concord.cli.feeds import make_feed
    from concord.cli.loading import load_run, same_data
    from concord.tasks.classify import Classify
    from concord.training import evaluate as scoring

    loaded = load_run(Path(run), allow_code=allow_code, strict=strict)
    splits, same = same_data(loaded, data)
    if not same:
        attend.tell("this is not the data that the run was trained on")
    feed = make_feed(loaded.config, splits, loaded.interface)
    task, members = Classify(len(loaded.interface.classes)), loaded.members
    tallies = {
        split: scoring.tally(list(members.values()), samples(), task, loaded.precision)
        for split, samples, there in (("test", feed.test, True), ("valid", feed.valid, feed.has_valid))
        if there
    }
    scores = {split: task.scores(tally, list(members)) for split, tally in tallies.items()}
    costs = assemble.costs(members, loaded.interface.shape)
    rows = loaded.folder.rows(("seconds", "samples_per_second"))
    seconds = sum(row["seconds"] for row in rows)
    images = sum(row["seconds"] * row["samples_per_second"] for row in rows)
    return {
        **assemble.result_figures(scores["test"], scores.get("valid"), costs),
        "recall": _recall(*task.by_class(tallies["test"], len(members)), loaded),
        "run": str(run),
        "samples": len(splits.test),
        "seconds": seconds,
        "samples_per_second": images / seconds if seconds else 0.0,
        "checkpoint": loaded.checkpoint.name,
        "fingerprint": splits.fingerprint,
    }


def _recall(samples: "Tensor", right: "Tensor", loaded: "Loaded") -> list[dict[str, Any]]:
    """A row per class: test samples, and the share that each member and the ensemble name rightly.

    Shape: (K,), (M + 1, K)
    """
    rows = []
    for name, n, hits in zip(loaded.interface.classes, samples.tolist(), right.T.tolist(), strict=True):
        *shares, ensemble = [hit / n if n else None for hit in hits]
        members = dict(zip(loaded.members, shares, strict=True))
        rows.append({"class": name, "samples": int(n), "members": members, "ensemble": ensemble})
    return rows


def predict(
    run: str | Path, files: Sequence[str], *, member: str = "ensemble", allow_code: Collection[str] = ()
) -> list[dict[str, Any]]:
    """Label and confidence of every image, in the order given; one that cannot be read has an ``error``."""
    from concord.cli.loading import load_run

    loaded = load_run(Path(run), allow_code=allow_code)
    loaded.chosen(member)
    rows = [row for text in files for row in _rows_of(text)]
    there = [row for row in rows if "error" not in row]
    for start in range(0, len(there), BATCH):
        _predict_some(loaded, there[start : start + BATCH], member)
    return rows


def _rows_of(text: str) -> list[dict[str, Any]]:
    """A row for each file that an argument stands for, or one with the error where it matches nothing."""
    from concord.data.decode import expand
    from concord.errors import DataError

    try:
        return [{"file": str(path)} for path in expand([text])]
    except DataError as error:
        return [_unreadable(text, error)]


def _unreadable(file: str, error: Exception) -> dict[str, Any]:
    return {"file": file, "label": None, "confidence": None, "error": str(error)}


def _predict_some(loaded: "Loaded", rows: Sequence[dict[str, Any]], member: str) -> None:
    """Label and confidence into the rows of these files, or the error."""
    import torch

    from concord.data.decode import open_image
    from concord.errors import DataError

    channels, height, width = loaded.interface.shape
    images = {}
    for i, row in enumerate(rows):
        try:
            path = Path(row["file"])
            images[i] = open_image(path, mode="L" if channels == 1 else "RGB", size=(height, width))
        except DataError as error:
            row |= _unreadable(row["file"], error)
    if images:
        confidence, label = loaded.probabilities(torch.stack(list(images.values())), member).max(-1)
        for i, c, k in zip(images, confidence.tolist(), label.tolist(), strict=True):
            rows[i] |= {"label": loaded.interface.classes[k], "confidence": c}


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
    result = evaluate(run, data=data, allow_code=allow_code or [], strict=strict)
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
    rows = predict(run, list(_with_input(files)), member=member, allow_code=allow_code or [])
    if csv_:
        _write_csv(csv_, rows)
    if json_:
        print_json(rows)
    elif not csv_:
        _print_rows(rows)
    bad = [row for row in rows if "error" in row]
    if bad:
        attend.tell(f"{len(bad)} of {len(rows)} images could not be read")
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

"""``concord study``: a grid of runs into one table with intervals.

Example:
    $ concord study --preset noel2017_mnist --data data/mnist --out runs/mnist
"""

from pathlib import Path
from typing import Annotated

import typer

from concord.cli import complete, progress
from concord.cli.options import (
    AllowCode,
    Epochs,
    Json,
    Members,
    Settings,
    TrainingData,
    code_named,
    print_json,
    tables_of,
)
from concord.errors import DivergedError, UsageError
from concord.studies.preset import PRESETS, preset

File = Annotated[Path | None, typer.Argument(help="TOML file of settings, with a table named study.")]
Preset = Annotated[
    str | None, typer.Option("--preset", help=f"Settings that come with concord: {', '.join(PRESETS)}.")
]
Arms = Annotated[
    list[str] | None,
    typer.Option(
        metavar="COST:WEIGHT,...",
        help="Cost between predictions with the weights to try, such as l2:0.1,0.01, or kl alone for the"
        " recommended weight; may be repeated.",
        autocompletion=complete.costs,
    ),
]
Seeds = Annotated[int | None, typer.Option(min=1, max=10_000, help="Number of seeds: 0, 1, ...; default: 3.")]
Published = Annotated[
    str | None, typer.Option(help="Show the figures of Noel 2017 beside ours: mnist, notmnist or cifar10.")
]
Jobs = Annotated[int | None, typer.Option(help="Number of runs at a time; default: one per core.")]
Out = Annotated[Path, typer.Option(help="Study folder to create or continue.")]


def add_to(app: typer.Typer) -> None:
    app.command(
        "study",
        help="A grid of runs (costs x weights x seeds x sets of members) into one table with intervals."
        " Rivals of a consensus are further rows: --set study.once=[1.0] (members taught by the finished"
        " ensemble), and alone, smoothing, ema, snapshots, distil, chain, wider, instead"
        " (docs/configuration.md). The same command continues a stopped study.\n\n"
        "Example: concord study --preset noel2017_mnist --data data/mnist --out runs/mnist",
    )(study_command)


def study_command(
    file: File = None,
    preset_: Preset = None,
    data: TrainingData = None,
    members: Members = None,
    arm: Arms = None,
    epochs: Epochs = None,
    seeds: Seeds = None,
    published: Published = None,
    jobs: Jobs = None,
    set_: Settings = None,
    out: Out = Path("runs/study"),
    allow_code: AllowCode = None,
    json_: Json = False,
) -> None:
    if file and preset_:
        raise UsageError("give a file or --preset, not both")
    start = preset(preset_) if preset_ else {}
    flags: list[tuple[str, object]] = [
        ("data.source", data),
        ("train.epochs", epochs),
        ("study.published", published),
        ("study.arms", [_arm(text) for text in arm] if arm else None),
        ("study.seeds", None if seeds is None else list(range(seeds))),
    ]
    tables = tables_of(file, members, flags, set_ or [], start)
    allowed = [*(allow_code or []), *code_named(tables, members)]
    from concord.api.study import study

    with progress.stop_flag() as stop, progress.tally() as observer:
        figures = study(tables, out, jobs=jobs, allow_code=allowed, observer=observer, stop=stop)
    if json_:
        print_json(figures)
    else:
        print((out / "table.txt").read_text())
        print(f"tables: {out / 'table.md'}   report: {out / 'report.html'}")
    for name, reason in figures["failed"].items():
        progress.tell(f"no result: {name}: {reason}")
    if figures["failed"]:
        raise typer.Exit(DivergedError.exit_status)


def _arm(text: str) -> dict[str, object]:
    """``l2:0.1,0.01`` -> a cost and its weights, ``kl`` -> a cost; the settings check both."""
    cost, colon, weights = text.partition(":")
    if not colon:
        return {"cost": cost.strip()}
    try:
        return {"cost": cost.strip(), "weights": [float(weight) for weight in weights.split(",")]}
    except ValueError:
        raise UsageError(
            f"--arm {text}: expected a cost and the weights to try, such as --arm l2:0.1,0.01"
        ) from None

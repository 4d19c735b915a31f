"""``concord ship``: from data and limits to the best network under them.

Example:
    $ concord ship photos/ --max-parameters 100k --hours 2 --out shipped
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from concord.cli import progress, sizes
from concord.cli.options import Json, Settings, print_json, tables_of
from concord.errors import UsageError

if TYPE_CHECKING:
    from concord.runs.config_data import Data
    from concord.shipping.plan import Plan
    from concord.shipping.shipped import Shipped


def add_to(app: typer.Typer) -> None:
    app.command(
        "ship",
        help="Find the best network under the limits within the hours, and write it to a folder that is used"
        " without concord: ONNX in floats and 8 bits, a script, a model card, a report. The same command"
        " continues a stopped search.\n\n"
        "Example: concord ship photos/ --max-parameters 100k --hours 2 --out shipped",
    )(ship_command)


Count = Annotated[str | None, typer.Option(metavar="N", help="Most parameters: 50000, 100k or 1.5M.")]
Macs = Annotated[str | None, typer.Option(metavar="N", help="Most multiply-accumulates for one image: 10M.")]
Size = Annotated[str | None, typer.Option(metavar="SIZE", help="Most bytes of model.onnx: 200kB or 1MiB.")]
Ms = Annotated[
    str | None,
    typer.Option(
        metavar="MS", help="Most milliseconds of one image in ONNX Runtime, on one thread of this machine."
    ),
]
Teacher = Annotated[
    str | None,
    typer.Option(metavar="RUN:MEMBER", help="Member of a finished run on the same data that teaches too."),
]
Side = Annotated[int | None, typer.Option(help="Side of the images in pixels; default: that of the data.")]
Valid = Annotated[
    float | None,
    typer.Option(help="Share cut off for validation from data without such a part; default: 0.1."),
]
Test = Annotated[
    float | None, typer.Option(help="Share cut off for the test from data without such a part; default: 0.2.")
]
OnlyPlan = Annotated[
    bool, typer.Option("--plan", help="Report runs, hours and disk space, and train nothing.")
]


def ship_command(
    data: Annotated[
        str,
        typer.Argument(
            help="Name or path of the data: a folder of classes, for example.", show_default=False
        ),
    ],
    max_parameters: Count = None,
    max_macs: Macs = None,
    max_bytes: Size = None,
    max_ms: Ms = None,
    hours: Annotated[float, typer.Option(help="Hours for all of it.")] = 1.0,
    teacher: Teacher = None,
    size: Side = None,
    valid: Valid = None,
    test: Test = None,
    seed: Annotated[int | None, typer.Option(help="Seed of splits and trainings; default: 0.")] = None,
    set_: Settings = None,
    plan: OnlyPlan = False,
    out: Annotated[Path, typer.Option(help="Folder to create or continue.")] = Path("shipped"),
    json_: Json = False,
) -> None:
    given = {"source": data, "size": size, "valid": valid, "test": test, "seed": seed}
    asked = {
        "max_parameters": sizes.count("--max-parameters", max_parameters),
        "max_macs": sizes.count("--max-macs", max_macs),
        "max_bytes": sizes.size("--max-bytes", max_bytes),
        "max_ms": sizes.milliseconds("--max-ms", max_ms),
        "hours": hours,
        "teacher": teacher,
    }
    from concord.api.ship import ship, ship_plan

    source = _source(given, set_ or [])
    with progress.stop_flag() as stop, progress.tally() as observer:
        if plan:
            _show_plan(ship_plan(source, **asked, observer=observer, stop=stop), json_)  # type: ignore[arg-type]
        else:
            _show(ship(source, out, **asked, observer=observer, stop=stop), json_)  # type: ignore[arg-type]


def _source(given: Mapping[str, object], settings: Sequence[str]) -> "Data":
    """What to search on; UsageError for settings of anything but the data."""
    from concord.runs.config_data import Data
    from concord.runs.toml import checked

    tables = tables_of(None, None, [(f"data.{key}", value) for key, value in given.items()], settings)
    if strange := sorted(tables.keys() - {"data"}):
        raise UsageError(
            f"--set {strange[0]}: a search takes settings of the data alone, such as"
            " --set data.drop_duplicates=true; how it trains is one recipe for all"
        )
    return checked(Data, tables["data"], prefix="data.")


def _show_plan(plan: "Plan", as_json: bool) -> None:
    if as_json:
        print_json(plan.to_dict())
        return
    print(f"runs   {plan.runs}")
    print(f"hours  {plan.seconds / 3600:.3g}")
    print(f"disk   at most {plan.bytes / 1e6:.1f} MB")
    for rung in plan.halving.rungs:
        print(f"short  {rung.runs} candidates for {rung.epochs} epochs")
    print(f"full   {', '.join(plan.full.ways)}: about {plan.full.epochs} epochs each")


def _show(found: "Shipped", as_json: bool) -> None:
    if as_json:
        print_json(found.to_dict())
        return
    print(found.sentence())
    print(f"int8: {'shipped' if found.int8.shipped else 'not shipped'}; {found.int8.reason}")
    print(f"{found.folder}: {', '.join(found.files)}")

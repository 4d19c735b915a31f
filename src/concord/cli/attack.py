"""``concord attack``: how a run's members stand changes that are made to mislead them.

Example:
    $ concord attack runs/first --method fgsm --eps 0.05,0.1,0.2
"""

from collections.abc import Collection, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from concord.cli import attack_plan, attend, complete
from concord.cli.options import AllowCode, DataPath, Json, print_json
from concord.data.text import printable
from concord.errors import ConcordError, UsageError

if TYPE_CHECKING:
    from concord.cli.attack_plan import Plan
    from concord.report.robustness import Robustness


def attack_runs(
    runs: Sequence[str | Path],
    eps: Sequence[float] = (0.1,),
    *,
    method: str = "fgsm",
    norm: str | None = None,
    steps: int | None = None,
    step_size: float | None = None,
    seed: int | None = None,
    target: str | None = None,
    member: str | None = None,
    limit: int | None = None,
    out: str | Path | None = None,
    data: str | None = None,
    allow_code: Collection[str] = (),
) -> dict[str, Any]:
    """Attack every member and the ensemble of these runs; gives what ``attack.json`` holds.

    ``out`` is the folder of attack.json and attack.html, by default attack/METHOD[-NORM][-to-CLASS] in the
    first run. Raises UsageError for an attack that makes no sense, and for runs of different images or
    classes; ResourceError where nothing can be written.
    """
    plan = attack_plan.plan_of(method, eps, norm=norm, steps=steps, step_size=step_size, seed=seed)
    chosen = {"target": target, "member": member, "limit": limit, "data": data, "allow_code": allow_code}
    folder, figures, found = _attacked(runs, plan, out, **chosen)
    _write(folder, figures, found)
    return figures


def _attacked(
    runs: Sequence[str | Path], plan: "Plan", out: str | Path | None, **chosen: Any
) -> tuple[Path, dict[str, Any], "Robustness"]:
    """Where the results belong, the figures, and what the page is made of."""
    limit, target = chosen["limit"], chosen["target"]
    if not runs:
        raise UsageError("name at least one run")
    if limit is not None and limit < 1:
        raise UsageError(f"--limit must be at least 1, got {limit}")
    from concord.training.folder import RunFolder

    paths = [Path(run) for run in runs]
    for path in paths:
        if [other.resolve() for other in paths].count(path.resolve()) > 1:
            raise UsageError(f"{path} is named twice")
        RunFolder(path).config()
    from concord.cli.attack_runs import attack_loaded

    folder = Path(out) if out else paths[0] / "attack" / plan.name(target)
    found = attack_loaded(paths, plan, folder=folder, **chosen)
    return folder, figures_of(paths, plan, target, found), found


def figures_of(
    paths: Sequence[Path], plan: "Plan", target: str | None, found: "Robustness"
) -> dict[str, Any]:
    """Everything but the pictures, for JSON."""
    from concord.report.robustness import notices

    stepwise = {"norm": plan.norm, "steps": plan.steps, "step_size": plan.step_size, "seed": plan.seed}
    return {
        "runs": [str(path) for path in paths],
        "checkpoints": list(found.checkpoints),
        "own_test": found.own_test,
        "method": plan.method,
        **(stepwise if plan.method == "pgd" else {}),
        "target": target,
        "eps": list(plan.eps),
        "samples": found.samples,
        "networks": {
            network.name: {
                "clean_error": asdict(network.clean),
                "zero_gradients": network.stuck,
                "points": [asdict(point) for point in network.points],
            }
            for network in found.networks
        },
        "transfer": [asdict(transfer) for transfer in found.transfers],
        "notices": notices(found),
    }


def _write(folder: Path, figures: dict[str, Any], found: "Robustness") -> None:
    import json

    from concord.files.atomic import write_text
    from concord.report.robustness import robustness_page

    write_text(folder / "attack.json", json.dumps(figures, indent=1, allow_nan=False))
    write_text(folder / "attack.html", robustness_page(found))


Runs = Annotated[
    list[Path], typer.Argument(help="Run folders.", show_default=False, autocompletion=complete.runs)
]
Sizes = Annotated[
    str, typer.Option(help="Size of the change, for pixels of 0 to 1; several with commas between them.")
]
StepSize = Annotated[float | None, typer.Option(help="pgd: length of a step; default 2.5 eps / steps.")]
Folder = Annotated[
    Path | None, typer.Option(help="Folder of attack.html and attack.json; default: in RUN/attack.")
]


def add_to(app: typer.Typer) -> None:
    app.command(
        "attack",
        help="Images changed to mislead the members of runs: error against eps, and what transfers.\n\n"
        "Example: concord attack runs/first --method pgd --norm l2 --eps 0.5,1,2 --limit 500",
    )(attack_command)


def attack_command(
    runs: Runs,
    method: Annotated[str, typer.Option(help="fgsm or pgd.")] = "fgsm",
    eps: Sizes = "0.1",
    norm: Annotated[str | None, typer.Option(help="pgd: linf (default) or l2.")] = None,
    steps: Annotated[int | None, typer.Option(help="pgd: how many steps; default 40.")] = None,
    step_size: StepSize = None,
    seed: Annotated[int | None, typer.Option(help="pgd: seed of the random start; default 0.")] = None,
    target: Annotated[str | None, typer.Option(help="Make networks name this class.")] = None,
    member: Annotated[str | None, typer.Option(help="Attack this one alone, and test all.")] = None,
    limit: Annotated[int | None, typer.Option(help="So many test images, of all classes.")] = None,
    out: Folder = None,
    data: DataPath = None,
    allow_code: AllowCode = None,
    json_: Json = False,
) -> None:
    plan = attack_plan.plan_of(
        method, attack_plan.sizes(eps), norm=norm, steps=steps, step_size=step_size, seed=seed
    )
    folder, figures, found = _attacked(
        runs, plan, out, target=target, member=member, limit=limit, data=data, allow_code=allow_code or []
    )
    failed = None
    try:
        _write(folder, figures, found)
    except ConcordError as error:  # the figures took long: they are told all the same
        failed = error
        attend.tell(str(error))
    if json_:
        print_json(figures)
    else:
        for text in figures["notices"]:
            attend.tell(text)
        _print(figures)
        if not failed:
            print(f"\n{printable(str(folder / 'attack.html'))}: curve, transfer, pictures")
    if failed:
        raise typer.Exit(failed.exit_status)


def _print(figures: dict[str, Any]) -> None:
    from concord.report.robustness import Transfer, transfer_tables
    from concord.report.tables import Table, entries, plain
    from concord.report.text import percent

    header = ("network", "clean", *(f"eps {eps:g}" for eps in figures["eps"]))
    rows, reached = [], []
    for name, network in figures["networks"].items():
        errors = [network["clean_error"], *(point["error"] for point in network["points"])]
        rows.append(entries(name, *(percent(rate["share"]) for rate in errors)))
        hits = (
            percent(point["reached"]["share"] if figures["target"] else None) for point in network["points"]
        )
        reached.append(entries(name, *hits))
    print(plain(Table(f"error in % on {figures['samples']:,} test images", header, tuple(rows))))
    if figures["target"]:
        caption = f"taken for {figures['target']!r} in %"
        print("\n" + plain(Table(caption, (header[0], *header[2:]), tuple(reached))))
    last = Transfer(**figures["transfer"][-1])
    if len(last.tested) > 1:
        for table in transfer_tables(last):
            print("\n" + plain(table))

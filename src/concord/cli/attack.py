"""``concord attack``: adversarial images for the members of runs.

Example:
    $ concord attack runs/first --method fgsm --eps 0.05,0.1,0.2
"""

from pathlib import Path
from typing import Annotated, Any

import typer

from concord.cli import complete, progress
from concord.cli.options import AllowCode, DataPath, Json, print_json
from concord.errors import ConcordError
from concord.files.text import printable
from concord.runs import attack_plan

Runs = Annotated[
    list[Path], typer.Argument(help="Run folders.", show_default=False, autocompletion=complete.runs)
]
Sizes = Annotated[
    str,
    typer.Option(
        metavar="SIZE,...",
        help="Size of the change, for pixels from 0 to 1, such as 0.05 or 8/255. Several: with commas.",
    ),
]
StepSize = Annotated[
    str | None,
    typer.Option(
        metavar="SIZE", help="Length of a step of pgd, such as 0.01 or 2/255; default: 2.5 eps / steps."
    ),
]
Folder = Annotated[
    Path | None, typer.Option(help="Folder for attack.html and attack.json; default: a folder in RUN/attack.")
]


def add_to(app: typer.Typer) -> None:
    app.command(
        "attack",
        help="Attack the members of runs with adversarial images: error against eps, and transfer between"
        " networks.\n\n"
        "Example: concord attack runs/first --method pgd --norm l2 --eps 0.5,1,2 --limit 500",
    )(attack_command)


def attack_command(
    runs: Runs,
    method: Annotated[str, typer.Option(help="Attack: fgsm (one step) or pgd (many steps).")] = "fgsm",
    eps: Sizes = "0.1",
    norm: Annotated[str | None, typer.Option(help="Norm of the change of pgd: linf (default) or l2.")] = None,
    steps: Annotated[int | None, typer.Option(help="Number of steps of pgd; default: 40.")] = None,
    step_size: StepSize = None,
    seed: Annotated[int | None, typer.Option(help="Seed of the random start of pgd; default: 0.")] = None,
    target: Annotated[
        str | None,
        typer.Option(help="Class that the attack makes the networks predict; default: any wrong class."),
    ] = None,
    member: Annotated[
        str | None,
        typer.Option(
            help="Member to attack; the images are tested on all members. Default: attack each.",
            autocompletion=complete.members_and_ensemble,
        ),
    ] = None,
    limit: Annotated[
        int | None, typer.Option(help="Number of test images, stratified by class; default: all.")
    ] = None,
    out: Folder = None,
    data: DataPath = None,
    allow_code: AllowCode = None,
    json_: Json = False,
) -> None:
    plan = attack_plan.plan_of(
        method,
        attack_plan.sizes(eps),
        norm=norm,
        steps=steps,
        step_size=attack_plan.step_length(step_size),
        seed=seed,
    )
    from concord.api.attack import attacked, write

    with progress.tally() as observer:
        folder, figures, found = attacked(
            runs,
            plan,
            out,
            target=target,
            member=member,
            limit=limit,
            data=data,
            allow_code=allow_code or [],
            observer=observer,
        )
    failed = None
    try:
        write(folder, figures, found)
    except ConcordError as error:  # the figures took long: print them even if they cannot be written
        failed = error
        progress.tell(str(error))
    if json_:
        print_json(figures)
    else:
        for text in figures["notices"]:
            progress.tell(text)
        _print(figures)
        if not failed:
            print(f"\n{printable(str(folder / 'attack.html'))}: curve, transfer, pictures")
    if failed:
        raise typer.Exit(failed.exit_status)


def _print(figures: dict[str, Any]) -> None:
    from concord.report.robustness import transfer_tables
    from concord.report.tables import Table, as_text, entries
    from concord.report.text import percent
    from concord.runs.attack_records import Transfer

    header = ("network", "clean", *(f"eps {eps:g}" for eps in figures["eps"]))
    rows, reached = [], []
    for name, network in figures["networks"].items():
        errors = [network["clean_error"], *(point["error"] for point in network["points"])]
        rows.append(entries(name, *(percent(rate["share"]) for rate in errors)))
        hits = (
            percent(point["reached"]["share"] if figures["target"] else None) for point in network["points"]
        )
        reached.append(entries(name, *hits))
    print(as_text(Table(f"error in % on {figures['samples']:,} test images", header, tuple(rows))))
    if figures["target"]:
        caption = f"predicted as {figures['target']!r} in %"
        print("\n" + as_text(Table(caption, (header[0], *header[2:]), tuple(reached))))
    last = Transfer(**figures["transfer"][-1])
    if len(last.tested) > 1:
        for table in transfer_tables(last):
            print("\n" + as_text(table))

"""``concord train``, and the run that it shares with ``concord resume``.

Example:
    $ concord train --members noel2017_st,noel2017_m --consensus l2 --weight 0.01 --epochs 30 --out runs/first
"""

from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from concord.cli import attend
from concord.cli.options import (
    AllowCode,
    Json,
    Members,
    code_named,
    mark_pretrained,
    tables_of,
)
from concord.cli.score_text import report_result
from concord.errors import DivergedError

if TYPE_CHECKING:
    from concord.cli.interface import Interface
    from concord.training.job import Job

TRAIN_HELP = (
    "Train members on data and write a run folder.\n\n"
    "Example: concord train --data photos/ --members noel2017_st,resnet18 --consensus l2 --weight 0.01"
    " --epochs 30 --out runs/first\n\n"
    "--data takes digits (scikit-learn's, the default), a folder of class folders, IDX files, CIFAR-10's"
    " binary version or an .npz file. A member is a network of `concord zoo`, of torchvision or timm, or your"
    " own package.module:factory, optionally with a name: small=noel2017_st,big=noel2017_m."
)


def train(
    settings: Mapping[str, Any],
    out: str | Path,
    *,
    allow_code: Collection[str] = (),
    quiet: bool = True,
    stop: Callable[[], bool] | None = None,
) -> dict[str, Any]:
    """Train as the configuration tables say, into a new run folder; gives what ``result.json`` holds.

    ``train({"members": [{"name": "st", "network": "noel2017_st"}]}, "runs/first")`` trains one member on
    digits.
    """
    with attend.stop_flag(stop) as stopping:
        return _begin(settings, Path(out), allow_code, quiet, stopping)


def _begin(
    settings: Mapping[str, Any],
    out: Path,
    allow_code: Collection[str],
    quiet: bool,
    stop: Callable[[], bool],
) -> dict[str, Any]:
    """Refuses what is wrong before the folder is made, and settings even before torch is imported."""
    from concord.training import folder as run_folder
    from concord.training import toml

    asked = toml.parse(settings)
    run_folder.refuse_taken(out)
    from concord.cli import assemble, machine
    from concord.cli.interface import Interface
    from concord.cli.teachers import load_teachers

    config = machine.resolved(asked)
    machine.settle(config)  # before anything is computed
    splits = assemble.load_data(config, attend.reading(stop, quiet))
    for notice in () if quiet else splits.notices:
        attend.tell(notice)
    if not quiet and config.consensus.cost != "none" and not config.consensus.weight:
        attend.tell(f"consensus.cost {config.consensus.cost} has weight 0: this is the plain ensemble")
    interface = Interface.of(splits)
    members = assemble.build_members(config, interface, allow_code)
    load_teachers(config, members, interface)
    assemble.check_memory(config, members, interface.shape, len(splits.train))
    folder = run_folder.RunFolder(out)
    job = assemble.make_job(folder, config, splits, members, interface, stop, attend.tell)
    run_folder.create(out, config, machine.stamp(config, splits.fingerprint), interface.plain())
    warning = machine.crowded(config)
    if warning and not quiet:
        attend.tell(warning)
    return run_job(job, interface, quiet)


def run_job(
    job: "Job", interface: "Interface", quiet: bool, allow_changes: bool = False, strict: bool = False
) -> dict[str, Any]:
    """Train a job to its end, show it, and write its result."""
    from concord.cli import assemble
    from concord.training import votes
    from concord.training.fit import fit
    from concord.training.folder import locked
    from concord.training.loop import Step

    epochs = job.config.train.epochs
    with locked(job.folder), attend.display(epochs, job.feed.steps, quiet) as shown:
        try:
            for event in fit(job, allow_changes=allow_changes, strict=strict):
                if isinstance(event, Step):
                    shown.step(event)
                else:
                    shown.epoch(event)
        except DivergedError as error:
            raise _with_way_out(error, job) from None
        result = _result(job, assemble.costs(job.members, interface.shape))
        votes.keep(job)
        job.folder.write_json("result.json", result)
    return result


def _with_way_out(error: DivergedError, job: "Job") -> DivergedError:
    """The error, and how the others go on if some that learn are sound; a KDCL target needs all of them."""
    sound = [
        name
        for name, member in job.members.items()
        if name not in error.members and any(p.requires_grad for p in member.parameters())
    ]
    if not error.members or not sound or job.config.consensus.cost.startswith("kdcl"):
        return error
    command = " ".join(
        [job.folder.resume.removesuffix("`"), *(f"--without {name}" for name in error.members)]
    )
    return DivergedError(f"{error}, or the others go on alone: {command}`", error.members)


def _result(job: "Job", costs: Mapping[str, Any]) -> dict[str, Any]:
    """The figures of the checkpoint that the run stands for, in the form that design.md promises."""
    from concord.cli import assemble
    from concord.training.final import final_scores

    final = final_scores(job)
    return {
        **assemble.result_figures(final.test, final.valid, costs),
        "run": str(job.folder.path),
        "seconds": final.seconds,
        "samples_per_second": final.samples_per_second,
        "epochs": final.epochs,
        "checkpoint": final.checkpoint,
        "fingerprint": job.feed.fingerprint,
        "notices": [*job.feed.notices, *_retired(job)],
    }


def _retired(job: "Job") -> list[str]:
    names = [member.name for member in job.config.members if member.retired]
    return [f"{', '.join(names)}: retired, learned nothing from there on"] if names else []


def add_to(app: typer.Typer) -> None:
    app.command("train", help=TRAIN_HELP)(train_command)


def train_command(
    data: Annotated[str | None, typer.Option(help="Where the samples come from.")] = None,
    members: Members = None,
    pretrained: Annotated[
        list[str] | None,
        typer.Option(metavar="MEMBER", help="Start this member from its library's weights; may be repeated."),
    ] = None,
    consensus: Annotated[str | None, typer.Option(help="Cost between predictions: l2, sce, kl, ...")] = None,
    weight: Annotated[float | None, typer.Option(help="Weight of that cost (alpha).")] = None,
    edges: Annotated[str | None, typer.Option(help="chain, all, ring, star, one_way, mean, ...")] = None,
    epochs: Annotated[int | None, typer.Option(help="How often every image is seen.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Images of one update.")] = None,
    seed: Annotated[int | None, typer.Option(help="Of starts, order, dropout.")] = None,
    device: Annotated[str | None, typer.Option(help="cpu, cuda or auto.")] = None,
    config: Annotated[Path | None, typer.Option(help="A TOML file; options win over it.")] = None,
    set_: Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Any setting.")] = None,
    out: Annotated[Path, typer.Option(help="The run folder to make.")] = Path("runs/run"),
    allow_code: AllowCode = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress on stderr.")] = False,
    json_: Json = False,
) -> None:
    flags = [
        ("data.source", data),
        ("consensus.cost", consensus),
        ("consensus.weight", weight),
        ("consensus.edges", edges),
        ("train.epochs", epochs),
        ("train.batch_size", batch_size),
        ("train.seed", seed),
        ("train.device", device),
    ]
    tables = tables_of(config, members, flags, set_ or [])
    tables.setdefault("members", [])
    mark_pretrained(tables["members"], pretrained or [])
    allowed = [*(allow_code or []), *code_named(tables, members)]
    result = train(tables, out, allow_code=allowed, quiet=quiet)
    report_result(result, json_)

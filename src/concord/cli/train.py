"""``concord train`` and ``concord resume``.

Example:
    $ concord train --members noel2017_st,noel2017_m --consensus l2 --weight 0.01 --epochs 30 --out runs/first
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from concord.cli import attend
from concord.cli.options import (
    AllowCode,
    Json,
    Members,
    Run,
    Strict,
    code_named,
    mark_pretrained,
    tables_of,
)
from concord.cli.score_text import report_result

if TYPE_CHECKING:
    from concord.cli.interface import Interface
    from concord.training.fit import Job

RESULT = ("members", "ensemble", "agreement")  # keys of result.json that are shown

TRAIN_HELP = """Train members on data and write a run folder.

Example: concord train --data photos/ --members noel2017_st,resnet18 --consensus l2 --weight 0.01 --epochs 30
--out runs/first

--data takes digits (scikit-learn's, the default), a folder of class folders, IDX files, CIFAR-10's binary
version or an .npz file. A member is a network of `concord zoo`, of torchvision or timm, or your own
package.module:factory, optionally with a name: small=noel2017_st,big=noel2017_m.
"""


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
    splits = assemble.load_data(config)
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
    return _run(job, interface, quiet)


def resume(
    run: str | Path,
    *,
    settings: Sequence[str] = (),
    allow_changes: bool = False,
    strict: bool = False,
    allow_code: Collection[str] = (),
    quiet: bool = True,
    stop: Callable[[], bool] | None = None,
) -> dict[str, Any]:
    """Go on exactly where a run stopped; gives what ``result.json`` holds.

    ``strict``: CheckpointError if the newest checkpoint is damaged, where else an earlier one is used.
    """
    with attend.stop_flag(stop) as stopping:
        return _go_on(Path(run), settings, allow_changes, strict, allow_code, quiet, stopping)


def _go_on(
    run: Path,
    settings: Sequence[str],
    allow_changes: bool,
    strict: bool,
    allow_code: Collection[str],
    quiet: bool,
    stop: Callable[[], bool],
) -> dict[str, Any]:
    from concord.training import toml
    from concord.training.folder import RunFolder

    folder = RunFolder(run)
    tables = folder.config().model_dump(mode="json", exclude_none=True)
    if folder.complete and not settings:
        from concord.training.final import finished

        if finished(folder, attend.tell):
            return {**folder.json("result.json", RESULT), "run": str(run)}
    for setting in settings:
        toml.assign(tables, setting)
    asked = toml.parse(tables, "configuration with --set")
    from concord.cli import assemble, machine
    from concord.cli.interface import INTERFACE, Interface, check_same
    from concord.cli.teachers import load_teachers
    from concord.training import checkpoint

    config = machine.resolved(asked)
    splits = assemble.load_data(config)
    # pixels are normalised as they were from the start, whatever data is trained on now
    interface = Interface.from_plain(folder.json("interface.json", INTERFACE))
    check_same(interface, splits, config.data.source)
    begun = bool(checkpoint.steps(folder.checkpoints))
    members = assemble.build_members(config, interface, allow_code, saved=begun)
    if not begun:
        load_teachers(config, members, interface)
    assemble.check_memory(config, members, interface.shape, len(splits.train))
    job = assemble.make_job(folder, config, splits, members, interface, stop, attend.tell)
    for difference in machine.elsewhere(folder.json("stamp.json"), config):
        attend.tell(f"{difference}: the run goes on, but not bit for bit as it would have there")
    return _run(job, interface, quiet, allow_changes, strict)


def _run(
    job: "Job", interface: "Interface", quiet: bool, allow_changes: bool = False, strict: bool = False
) -> dict[str, Any]:
    from concord.cli import assemble, machine
    from concord.training import votes
    from concord.training.fit import fit
    from concord.training.folder import locked
    from concord.training.loop import Step

    epochs = job.config.train.epochs
    machine.settle(job.config)
    with locked(job.folder), attend.display(epochs, job.feed.steps, quiet) as shown:
        for event in fit(job, allow_changes=allow_changes, strict=strict):
            if isinstance(event, Step):
                shown.step(event)
            else:
                shown.epoch(event)
        result = _result(job, assemble.costs(job.members, interface.shape))
        votes.keep(job)
        job.folder.write_json("result.json", result)
    return result


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
        "notices": list(job.feed.notices),
    }


def add_to(app: typer.Typer) -> None:
    app.command("train", help=TRAIN_HELP)(train_command)
    app.command("resume", help="Go on exactly where a run stopped.\n\nExample: concord resume runs/first")(
        resume_command
    )


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
    epochs: Annotated[int | None, typer.Option()] = None,
    batch_size: Annotated[int | None, typer.Option()] = None,
    seed: Annotated[int | None, typer.Option()] = None,
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


def resume_command(
    run: Run,
    set_: Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change this.")] = None,
    allow_changes: Annotated[
        bool, typer.Option("--allow-changes", help="Go on although configuration or data differ.")
    ] = False,
    strict: Strict = False,
    allow_code: AllowCode = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress on stderr.")] = False,
    json_: Json = False,
) -> None:
    result = resume(
        run,
        settings=set_ or [],
        allow_changes=allow_changes,
        strict=strict,
        allow_code=allow_code or [],
        quiet=quiet,
    )
    report_result(result, json_)

"""A run from its settings to its result, and back from its folder to its end."""

from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from concord.errors import CheckpointError, DivergedError, ResourceError, UsageError, suggestion
from concord.runs import assemble, machine, predictions, seal, stamp, threads, toml
from concord.runs import folder as run_folder
from concord.runs.changes import edited, refuse
from concord.runs.config import Config
from concord.runs.folder import RunFolder, locked
from concord.runs.interface import Interface, check_same, interface_of
from concord.runs.job import make_job
from concord.runs.loading import refuse_own
from concord.runs.own_code import try_own_code
from concord.runs.own_members import refuse_idle
from concord.runs.plan import pointless
from concord.runs.result import Result, diversity_of, ensemble_of, members_of
from concord.runs.teachers import load_teachers
from concord.runs.watching import Stop, never, reading
from concord.runs.weights import finished
from concord.tasks.classify import ClassScores
from concord.training import checkpoint
from concord.training.epoch import Epoch
from concord.training.final import final
from concord.training.fit import Training
from concord.training.job import Job
from concord.training.observer import SILENT, Observer


def train(
    config: Config,
    out: Path,
    *,
    allow_code: Collection[str] = (),
    observer: Observer = SILENT,
    stop: Stop = never,
) -> Result:
    """Train into a new run folder; gives what ``result.json`` holds.

    What is wrong is refused before the folder is made.
    """
    run_folder.refuse_taken(out)
    asked, config = config.train.threads, machine.resolved(config)
    with machine.settled(config):
        splits, members = assemble.load_and_build(config, allow_code, reading(observer, stop))
        for notice in (*splits.notices, *pointless(config)):
            observer.notice(notice)
        interface = Interface.of(splits)
        refuse_idle(members)
        try_own_code(config, members, interface, allow_code, observer)
        load_teachers(config, members, interface, observer)
        assemble.check_memory(config, members, interface.shape, len(splits.train))
        choice = threads.chosen(asked, config, members, interface.shape)
        if choice.notice:
            observer.notice(choice.notice)
        config, folder = choice.config, RunFolder(out)
        job = make_job(folder, config, splits, members, interface, observer=observer, stop=stop)
        run_folder.create(out, config, machine.stamp(config, splits.fingerprint), interface.plain())
        return run_job(job, folder, config, interface)


def resume(
    run: Path,
    *,
    settings: Sequence[str] = (),
    without: Collection[str] = (),
    allow_changes: bool = False,
    strict: bool = False,
    allow_code: Collection[str] = (),
    observer: Observer = SILENT,
    stop: Stop = never,
) -> Result:
    """Continue a run exactly where it stopped; gives what ``result.json`` holds.

    ``without`` names members that keep their weights from here on and from which nobody learns any more, such
    as one that diverged. ``strict``: CheckpointError if the newest checkpoint is damaged, where otherwise an
    earlier one is used.
    """
    folder = RunFolder(run, sealed=not allow_changes)
    if folder.complete:
        _tidied(folder)
    if allow_changes:
        for fault in seal.broken(run, folder.resume).values():
            observer.notice(f"{fault}. It is accepted as it is")
    asked = _asked(folder, settings, without)
    unchanged = not (settings or without or allow_changes)
    if folder.complete and unchanged and finished(folder, observer.notice, strict):
        observer.notice(f"{run} is finished already: nothing was trained")
        return read_result(folder)
    return _continue(folder, asked, allow_changes, strict, allow_code, observer, stop)


def _tidied(folder: RunFolder) -> None:
    """Remove what kills left in a complete run, if nobody is at work there and it can be written to."""
    with suppress(UsageError, ResourceError), locked(folder):
        checkpoint.sweep(folder.checkpoints)


def read_result(folder: RunFolder) -> Result:
    """The result of a finished run; CheckpointError if its document is damaged."""
    try:
        return Result.read(folder.json("result.json"), str(folder.path))
    except (KeyError, TypeError, AttributeError) as error:
        file = folder.path / "result.json"
        raise CheckpointError(f"{file}: damaged or of an older version, it lacks {error}") from None


def _asked(folder: RunFolder, settings: Sequence[str], without: Collection[str]) -> Config:
    """The run's configuration with the changes in it; UsageError for a member that it does not have."""
    # not under its seal: a setting that was changed since is listed with what it was
    tables = replace(folder, sealed=False).config().model_dump(mode="json", exclude_none=True)
    members = {member["name"]: member for member in tables["members"]}
    for name in without:
        if name not in members:
            near = suggestion(name, members)
            raise UsageError(f"--without {name}: no such member{near}; there are: {', '.join(members)}")
        if folder.complete:
            raise UsageError(f"--without {name}: {folder.path} is complete, and nothing is left to learn")
        members[name]["retired"] = True
    for setting in settings:
        toml.assign(tables, setting)
    return toml.parse(tables)


def _continue(
    folder: RunFolder,
    asked: Config,
    allow_changes: bool,
    strict: bool,
    allow_code: Collection[str],
    observer: Observer,
    stop: Stop,
) -> Result:
    refuse_own(folder, asked)
    found, _ = checkpoint.newest(folder.checkpoints, strict)
    if found and not allow_changes:  # before anything is made of settings that somebody edited
        refuse(found.path, edited(folder, found))
    config = machine.resolved(asked)
    with machine.settled(config):
        splits = assemble.load_again(config, "--set data.source=PATH", reading(observer, stop))
        # pixels are normalised as they were from the start, whatever data is trained on now
        interface = interface_of(folder, found.state if found else {}, observer.notice)
        check_same(interface, splits, config.data.source)
        members = assemble.build_members(config, interface, allow_code, saved=found)
        if found is None:
            load_teachers(config, members, interface, observer)
        assemble.check_memory(config, members, interface.shape, len(splits.train))
        job = make_job(
            folder,
            config,
            splits,
            members,
            interface,
            allow_changes=allow_changes,
            strict=strict,
            observer=observer,
            stop=stop,
        )
        for difference in machine.elsewhere(stamp.read(folder), config):
            observer.notice(f"{difference}: the run continues, but not bit for bit as it would have there")
        return run_job(job, folder, config, interface)


def run_job(job: Job[ClassScores], folder: RunFolder, config: Config, interface: Interface) -> Result:
    """Train a job to its end, and write its result and predictions."""
    with locked(folder):
        training, last = Training(job), None
        try:
            for event in training.run():
                last = event if isinstance(event, Epoch) else None
        except DivergedError as error:
            raise _with_way_out(error, job, folder, config) from None
        done = final(job, training.position.best_step, last)
        costs = assemble.costs(job.members, interface.shape)
        result = Result(
            members_of(done.test, done.valid, costs),
            ensemble_of(done.test, done.valid),
            diversity_of(done.test),
            str(folder.path),
            done.seconds,
            done.samples_per_second,
            done.epochs,
            done.checkpoint,
            job.feed.fingerprint,
            (*job.feed.notices, *_retired(config), *training.lost),
        )
        assert done.targets is not None
        kept = predictions.content_of(done.predictions, {"labels": done.targets})
        folder.complete_with(result.to_dict(), {predictions.FILE: kept})
    return result


def _with_way_out(
    error: DivergedError, job: Job[ClassScores], folder: RunFolder, config: Config
) -> DivergedError:
    """The error, and how the others continue if some that learn are sound; KDCL targets need all of them."""
    sound = [
        name
        for name, member in job.members.items()
        if name not in error.members and any(p.requires_grad for p in member.parameters())
    ]
    if not error.members or not sound or config.consensus.cost.startswith("kdcl"):
        return error
    command = " ".join([folder.resume.removesuffix("`"), *(f"--without {name}" for name in error.members)])
    return DivergedError(f"{error}, or the others continue alone: {command}`", error.members)


def _retired(config: Config) -> list[str]:
    names = [member.name for member in config.members if member.retired]
    return [f"{', '.join(names)}: retired, learned nothing from there on"] if names else []

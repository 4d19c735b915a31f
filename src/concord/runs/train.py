"""A run from its settings to its result, and back from its folder to its end."""

from collections.abc import Collection, Sequence
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from concord.errors import DivergedError, ResourceError, UsageError, suggestion
from concord.runs import folder as run_folder
from concord.runs import machine, predictions, seal, stamp, toml
from concord.runs.changes import edited, refuse
from concord.runs.config import Config
from concord.runs.cycles import ends_of_cycles
from concord.runs.folder import RunFolder, locked
from concord.runs.kinds import kind_of
from concord.runs.ready import Call, Ready, RunResult
from concord.runs.stands import refuse_own
from concord.runs.task_kinds import refuse_unknown
from concord.runs.watching import Stop, never
from concord.runs.weights import finished
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
) -> RunResult:
    """Train into a new run folder; gives what ``result.json`` holds.

    What is wrong is refused before the folder is made.
    """
    run_folder.refuse_taken(out)
    refuse_unknown(config.train.task)
    folder = RunFolder(out)
    with machine.settled(machine.resolved(config)):
        ready = kind_of(config).new(folder, config, Call(allow_code, observer, stop))
        stamped = machine.stamp(ready.config, ready.job.feed.fingerprint)
        run_folder.create(out, ready.config, stamped, ready.interface)
        return run_job(ready, folder)


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
) -> RunResult:
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
    call = Call(allow_code, observer, stop, allow_changes, strict)
    return _continue(folder, asked, call)


def _tidied(folder: RunFolder) -> None:
    """Remove what kills left in a complete run, if nobody is at work there and it can be written to."""
    with suppress(UsageError, ResourceError), locked(folder):
        checkpoint.sweep(folder.checkpoints)


def read_result(folder: RunFolder) -> RunResult:
    """The result of a finished run; CheckpointError if its document is damaged."""
    return kind_of(folder.config()).read(folder)


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


def _continue(folder: RunFolder, asked: Config, call: Call) -> RunResult:
    refuse_own(folder, asked)
    found, _ = checkpoint.newest(folder.checkpoints, call.strict)
    if found and not call.allow_changes:  # before anything is made of settings that somebody edited
        refuse(found.path, edited(folder, found))
    with machine.settled(machine.resolved(asked)):
        ready = kind_of(asked).again(folder, asked, found, call)
        for difference in machine.elsewhere(stamp.read(folder), ready.config):
            call.observer.notice(
                f"{difference}: the run continues, but not bit for bit as it would have there"
            )
        return run_job(ready, folder)


def run_job(ready: Ready[Any], folder: RunFolder) -> RunResult:
    """Train a job to its end, and write its result and predictions."""
    job, config = ready.job, ready.config
    with locked(folder), closing(job.feed):
        training, last = Training(job), None
        try:
            for event in training.run():
                last = event if isinstance(event, Epoch) else None
        except DivergedError as error:
            raise _with_way_out(error, job, folder, config) from None
        done = final(job, training.position.best_step, last)
        result = ready.result(done, (*job.feed.notices, *_retired(config), *training.lost))
        kept = predictions.content_of(done.predictions, predictions.truth(done))
        snapshots = ends_of_cycles(config, job.feed.steps)
        folder.complete_with(result.to_dict(), {predictions.FILE: kept}, snapshots)
    return result


def _with_way_out(error: DivergedError, job: Job[Any], folder: RunFolder, config: Config) -> DivergedError:
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

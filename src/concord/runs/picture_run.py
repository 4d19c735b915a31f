"""Runs of classifiers of pictures: from their settings to a job, and from the end of one to its result."""

from pathlib import Path

from concord.data.splits import Splits
from concord.errors import CheckpointError
from concord.runs import assemble, machine, threads, uncertainty
from concord.runs.classes_only import classes_only
from concord.runs.config import Config
from concord.runs.folder import RunFolder
from concord.runs.interface import Interface, check_same, interface_of
from concord.runs.job import make_job
from concord.runs.own_code import try_own_code
from concord.runs.own_members import refuse_idle
from concord.runs.plan import pointless
from concord.runs.ready import Call, Ready
from concord.runs.result import Result, diversity_of, ensemble_of, members_of
from concord.runs.teachers import load_teachers
from concord.runs.watching import reading
from concord.tasks.classify import ClassScores
from concord.training.checkpoint import Checkpoint
from concord.training.final import Final
from concord.training.job import Job


def new(folder: RunFolder, asked: Config, call: Call) -> Ready[ClassScores]:
    """A training from its settings; what is wrong is refused here, before anything is written."""
    config = machine.resolved(asked)
    with classes_only(config.data.source):
        splits, members = assemble.load_and_build(config, call.allow_code, reading(call.observer, call.stop))
    for notice in (*splits.notices, *pointless(config)):
        call.observer.notice(notice)
    interface = Interface.of(splits)
    refuse_idle(members)
    try_own_code(config, members, interface, call.allow_code, call.observer)
    load_teachers(config, members, interface, call.observer)
    assemble.check_memory(config, members, interface.shape, len(splits.train))
    choice = threads.chosen(asked.train.threads, config, members, interface.shape)
    if choice.notice:
        call.observer.notice(choice.notice)
    job = make_job(folder, choice.config, splits, members, interface, observer=call.observer, stop=call.stop)
    return _ready(job, choice.config, interface, folder.path)


def again(folder: RunFolder, asked: Config, found: Checkpoint | None, call: Call) -> Ready[ClassScores]:
    """A training that continues from its newest checkpoint, or begins without one."""
    config = machine.resolved(asked)
    splits: Splits = assemble.load_again(config, "--set data.source=PATH", reading(call.observer, call.stop))
    # pixels are normalised as they were from the start, whatever data is trained on now
    interface = interface_of(folder, found.state if found else {}, call.observer.notice)
    check_same(interface, splits, config.data.source)
    members = assemble.build_members(config, interface, call.allow_code, saved=found)
    if found is None:
        load_teachers(config, members, interface, call.observer)
    assemble.check_memory(config, members, interface.shape, len(splits.train))
    job = make_job(
        folder,
        config,
        splits,
        members,
        interface,
        allow_changes=call.allow_changes,
        strict=call.strict,
        observer=call.observer,
        stop=call.stop,
    )
    return _ready(job, config, interface, folder.path)


def read(folder: RunFolder) -> Result:
    """The result of a finished run; CheckpointError if its document is damaged."""
    try:
        return Result.read(folder.json("result.json"), str(folder.path))
    except (KeyError, TypeError, AttributeError) as error:
        file = folder.path / "result.json"
        raise CheckpointError(f"{file}: damaged or of an older version, it lacks {error}") from None


def _ready(job: Job[ClassScores], config: Config, interface: Interface, path: Path) -> Ready[ClassScores]:
    def result(done: Final[ClassScores], notices: tuple[str, ...]) -> Result:
        costs = assemble.costs(job.members, interface.shape)
        return Result(
            members_of(done.test, done.valid, costs),
            ensemble_of(done.test, done.valid),
            diversity_of(done.test),
            str(path),
            done.seconds,
            done.samples_per_second,
            done.epochs,
            done.checkpoint,
            job.feed.fingerprint,
            notices,
            uncertainty.measured(job, done, config.train),
        )

    return Ready(job, config, interface.plain(), result)

"""Runs on sequences: from their settings to a job, and from the end of one to its result."""

from typing import Any, cast

from torch import nn

from concord.data.sequences.load import WINDOW, Parts, SequenceTask, Wanted, load
from concord.data.sequences.samples import Sequences
from concord.errors import CheckpointError, DataError, MissingDataError, UsageError
from concord.runs import given, machine
from concord.runs.config import Config
from concord.runs.feed_of_data import feed_of
from concord.runs.folder import RunFolder
from concord.runs.job import job_in
from concord.runs.named_tasks import TASKS
from concord.runs.own_members import refuse_idle, try_members
from concord.runs.own_trial import try_modules
from concord.runs.plan import looks_at_validation, pointless
from concord.runs.precision import PRECISIONS
from concord.runs.ready import Call, Ready, RunResult
from concord.runs.result import Result
from concord.runs.sequences.figures import Where, costs, document_of, longest
from concord.runs.sequences.interface import SequenceInterface, interface_of, readable
from concord.runs.sequences.members import build_members
from concord.runs.sequences.result import SequenceResult
from concord.runs.stream_order import require_order
from concord.tasks.ctc import require_paths
from concord.tasks.task import Task
from concord.training.checkpoint import Checkpoint
from concord.training.final import Final
from concord.training.job import Feed, Job


def wanted_of(config: Config) -> Wanted:
    """What the settings ask of the data."""
    data, task = config.data, cast("SequenceTask", config.train.task)
    window, streams = data.window or WINDOW, config.train.batch_size if config.train.carry else None
    return Wanted(data.source, task, *data.shares, data.seed, data.limit, window, streams)


def resolved(config: Config) -> Config:
    """With every "auto" decided; recurrent layers have no fast kernel in bfloat16 on a CPU.

    Streams come in stored order.
    """
    train = config.train
    precision = "float32" if train.precision == "auto" else train.precision
    update = {"precision": precision, "shuffle": train.shuffle and not train.carry}
    return machine.resolved(config.model_copy(update={"train": train.model_copy(update=update)}))


def task_of(interface: SequenceInterface) -> Task[Any]:
    """What an output means."""
    return TASKS[interface.task].make(interface.outputs)


def new(folder: RunFolder, asked: Config, call: Call) -> Ready[Any]:
    """A training from its settings; what is wrong is refused here, before anything is written."""
    config = resolved(asked)
    parts = load(wanted_of(config))
    interface = SequenceInterface.of(parts, wanted_of(config).task)
    for part in (parts.train, parts.valid, parts.test) if interface.task == "ctc" else ():
        if isinstance(part, Sequences):
            require_paths(part.listed.problem.y, part.listed.problem.lengths, part.name)
    members = build_members(config, interface, call.allow_code)
    for notice in pointless(config):
        call.observer.notice(notice)
    refuse_idle(members)
    feed_parts = given.Parts(parts.train, parts.valid, parts.test, workers=config.data.workers or 0)
    precision = PRECISIONS[config.train.precision]
    try_modules(members, feed_parts, task_of(interface), call.observer, dense=True, precision=precision)
    ready = _ready(folder, config, parts, interface, members, call)
    for notice in ready.job.feed.notices:
        call.observer.notice(notice)
    return ready


def again(folder: RunFolder, asked: Config, found: Checkpoint | None, call: Call) -> Ready[Any]:
    """A training that continues from its newest checkpoint, or begins without one."""
    config = resolved(asked)
    interface = interface_of(folder, found.state if found else {}, call.observer.notice)
    if interface.task != config.train.task:
        raise CheckpointError(f"{folder.path / 'interface.json'} is of the task {interface.task}")
    parts = load_again(config, interface, "--set data.source=PATH")
    members = build_members(config, interface, call.allow_code, saved=found)
    return _ready(folder, config, parts, interface, members, call)


def load_again(config: Config, interface: SequenceInterface, option: str) -> Parts:
    """The data of a run that was begun earlier, and perhaps elsewhere: ``option`` tells where they are."""
    try:
        parts = load(wanted_of(config), interface.known, interface.scale)
    except MissingDataError as error:
        raise DataError(
            f"{error}\nThe run was trained on these data. If they have moved, give the new path with {option}"
        ) from None
    if isinstance(parts.train, Sequences):
        readable(parts.train.listed, interface)
    return parts


def read(folder: RunFolder) -> RunResult:
    """The result of a finished run; CheckpointError if its document is damaged."""
    plain = folder.json("result.json")
    try:
        if folder.config().train.task == "sequence":
            return Result.read(plain, str(folder.path))
        return SequenceResult.read(plain)
    except (KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{folder.path / 'result.json'}: damaged, it lacks {error}") from None


def _ready(
    folder: RunFolder,
    config: Config,
    parts: Parts,
    interface: SequenceInterface,
    members: dict[str, nn.Module],
    call: Call,
) -> Ready[Any]:
    task = task_of(interface)
    feed = _feed(config, parts, task, members)
    job: Job[Any] = job_in(folder, config, members, feed, task, interface.plain(), call)
    prices = costs(members, interface, longest(parts.train))

    def result(done: Final[Any], notices: tuple[str, ...]) -> RunResult:
        where = Where(str(folder.path), feed.fingerprint, longest(parts.train))
        return document_of(done, prices, where, notices)

    return Ready(job, config, interface.plain(), result)


def _feed(config: Config, parts: Parts, task: Task[Any], members: dict[str, nn.Module]) -> Feed:
    """Batches of the parts; UsageError for settings that look at a validation part which is empty."""
    require_order(parts.train, config.train)
    looking = looks_at_validation(config)
    if looking and parts.valid is None:
        raise UsageError(
            f"{looking} looks at the validation part, which is empty: set data.valid, for example to 0.1"
        )
    return feed_of(
        given.Parts(parts.train, parts.valid, parts.test),
        task,
        lambda x, y, where: try_members(members, x, y, task, where),
        batch_size=config.train.batch_size,
        seed=config.train.seed,
        workers=config.data.workers or 0,
        shuffle=config.train.shuffle,
    )

"""Runs of masks and boxes: from their settings to a job, and from the end of one to its result."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from torch import nn
from torch.utils.data import DataLoader

from concord.data.loader import Loader
from concord.errors import CheckpointError, DataError, MissingDataError, UsageError
from concord.runs import given, machine
from concord.runs.config import Config
from concord.runs.feed_of_data import feed_of
from concord.runs.folder import RunFolder
from concord.runs.job import job_in
from concord.runs.named_tasks import refuse_cost
from concord.runs.own_members import refuse_idle, try_members
from concord.runs.own_trial import try_modules
from concord.runs.plan import looks_at_validation, pointless
from concord.runs.precision import PRECISIONS
from concord.runs.ready import Call, Ready, RunResult
from concord.runs.samples import in_order
from concord.runs.vision import boxes, masks
from concord.runs.vision.figures import prices, spent_by
from concord.runs.vision.interface import VisionInterface, interface_of
from concord.runs.vision.members import build_members
from concord.runs.vision.result import VisionResult
from concord.runs.vision.settings import DETECT
from concord.tasks.detection.scores import DetectScores
from concord.tasks.segment_scores import SegmentScores
from concord.tasks.task import Task
from concord.training.checkpoint import Checkpoint
from concord.training.evaluate import Samples
from concord.training.final import Final
from concord.training.job import Feed, Job


def resolved(config: Config) -> Config:
    """With every "auto" decided: members compute in float32 unless something else is asked for."""
    train = config.train
    precision = "float32" if train.precision == "auto" else train.precision
    return machine.resolved(
        config.model_copy(update={"train": train.model_copy(update={"precision": precision})})
    )


def load_parts(config: Config, known: VisionInterface | None = None) -> given.Parts:
    """The data of a training; ``known`` is the interface of an earlier one."""
    return (boxes if config.train.task == DETECT else masks).load_parts(config, known)


def task_of(config: Config, interface: VisionInterface, members: Mapping[str, nn.Module]) -> Task[Any]:
    """What an output of these members means."""
    if interface.task == DETECT:
        return boxes.task_of(config, interface, members)
    return masks.task_of(config, interface)


def new(folder: RunFolder, asked: Config, call: Call) -> Ready[Any]:
    """A training from its settings; what is wrong is refused here, before anything is written."""
    config = resolved(asked)
    parts = load_parts(config)
    detect = config.train.task == DETECT
    interface = (boxes if detect else masks).interface_of_parts(parts)
    members = build_members(config, interface, call.allow_code)
    if detect:
        interface = boxes.anchored(config, parts, interface, members)
    refuse_idle(members)
    task = task_of(config, interface, members)
    refuse_cost(config.consensus.cost, task)
    precision = PRECISIONS[config.train.precision]
    try_modules(members, parts, task, call.observer, dense=True, precision=precision)
    ready = _ready(folder, config, parts, interface, members, call)
    for notice in (*ready.job.feed.notices, *pointless(config)):
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


def load_again(config: Config, interface: VisionInterface, option: str) -> given.Parts:
    """The data of a run that was begun earlier, and perhaps elsewhere: ``option`` tells where they are."""
    try:
        return load_parts(config, interface)
    except MissingDataError as error:
        raise DataError(
            f"{error}\nThe run was trained on these data. If they have moved, give the new path with {option}"
        ) from None


def read(folder: RunFolder) -> RunResult:
    """The result of a finished run; CheckpointError if its document is damaged."""
    plain, detect = folder.json("result.json"), folder.config().train.task == DETECT
    try:
        return VisionResult.read(plain, DetectScores.read if detect else SegmentScores.read)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise CheckpointError(f"{folder.path / 'result.json'}: damaged, it lacks {error}") from None


def _ready(
    folder: RunFolder,
    config: Config,
    parts: given.Parts,
    interface: VisionInterface,
    members: dict[str, nn.Module],
    call: Call,
) -> Ready[Any]:
    task = task_of(config, interface, members)
    feed = _feed(config, parts, task, members)
    if interface.task == DETECT:
        feed = boxes.at_scales(config, interface, feed)
    job: Job[Any] = job_in(folder, config, members, feed, task, interface.plain(), call)
    size = interface.canvas or masks.size_of(parts)
    costs = prices(members, interface, size)

    def result(done: Final[Any], notices: tuple[str, ...]) -> RunResult:
        spent = spent_by(done, interface, str(folder.path), feed.fingerprint, size)
        return VisionResult(done.test, done.valid, costs, spent, notices)

    return Ready(job, config, interface.plain(), result)


def _feed(config: Config, parts: given.Parts, task: Task[Any], members: dict[str, nn.Module]) -> Feed:
    """Batches of the parts; UsageError for settings that look at a validation part which is empty."""
    looking = looks_at_validation(config)
    if looking and parts.valid is None:
        raise UsageError(
            f"{looking} looks at the validation part, which is empty: set data.valid, for example to 0.1"
        )
    feed = feed_of(
        parts,
        task,
        lambda x, y, where: try_members(members, x, y, task, where),
        batch_size=config.train.batch_size,
        seed=config.train.seed,
        workers=parts.workers,
        shuffle=config.train.shuffle,
    )
    return feed if parts.valid or parts.test else _on_whole_pictures(parts, feed)


def _on_whole_pictures(parts: given.Parts, feed: Feed) -> Feed:
    """The feed of training data that are scored too, as ``evaluate`` scores them: whole, not in crops."""
    assert not isinstance(parts.train, DataLoader)
    whole = masks.uncut(parts.train)
    loader = Loader({"data": whole})

    def samples() -> Samples:
        return in_order(whole, "data", loader)

    return replace(feed, valid=samples, test=samples)

"""From the parts of a run to a training that can start."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from torch import nn

from concord.data.splits import Splits
from concord.runs.adversary import adversarial_of
from concord.runs.config import Config
from concord.runs.feeds import make_feed
from concord.runs.folder import RunFolder
from concord.runs.interface import Interface
from concord.runs.plan import plan_of
from concord.runs.precision import PRECISIONS, precisions
from concord.runs.ready import Call
from concord.runs.stacks import stacks_of
from concord.runs.store import RunStore
from concord.runs.watching import never
from concord.tasks.classify import Classify, ClassScores
from concord.tasks.task import S, Task
from concord.training.average import refuse_narrow
from concord.training.job import Feed, Job
from concord.training.observer import SILENT, Observer
from concord.training.seeding import purpose_seed


def make_job(
    folder: RunFolder,
    config: Config,
    splits: Splits,
    members: dict[str, nn.Module],
    interface: Interface,
    *,
    allow_changes: bool = False,
    strict: bool = False,
    observer: Observer = SILENT,
    stop: Callable[[], bool] = never,
) -> Job[ClassScores]:
    """Everything together, with the run folder as its store."""
    feed = make_feed(config, splits, interface)
    task = Classify(len(interface.classes), config.train.label_smoothing)
    call = Call((), observer, stop, allow_changes, strict)
    job = job_in(folder, config, members, feed, task, interface.plain(), call)
    return replace(
        job,
        precision=precisions(config, members, interface.shape),
        adversarial=adversarial_of(config, interface),
        stacks=stacks_of(config, members, interface),
        probes={m.name: interface.shape for m in config.members if ":" in m.network},
    )


def job_in(
    folder: RunFolder,
    config: Config,
    members: dict[str, nn.Module],
    feed: Feed,
    task: Task[S],
    interface: Mapping[str, Any],
    call: Call,
) -> Job[S]:
    """A training with the run folder as its store; ``interface`` is what interface.json holds.

    All members compute in the precision of the settings.
    """
    if config.train.ema:
        refuse_narrow(members)
    store = RunStore(
        folder,
        config,
        members,
        interface,
        feed.fingerprint,
        feed.steps,
        task.size,
        call.observer,
        call.allow_changes,
        call.strict,
    )
    return Job(
        members=members,
        feed=feed,
        task=task,
        plan=plan_of(config, feed.steps),
        store=store,
        seeds={name: purpose_seed(config.train.seed, "dropout", name) for name in members},
        precision=dict.fromkeys(members, PRECISIONS[config.train.precision]),
        stop=call.stop,
        observer=call.observer,
    )

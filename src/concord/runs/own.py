"""A training of modules, data and settings that a Python user gives as objects: from these to a job."""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from concord.errors import UsageError
from concord.runs import folder as run_folder
from concord.runs import machine
from concord.runs.config import Config
from concord.runs.feed_of_data import feed_of
from concord.runs.folder import RunFolder
from concord.runs.given import Parts
from concord.runs.own_members import refuse_idle, try_members
from concord.runs.own_settings import Binding, Choices
from concord.runs.plan import looks_at_validation, pointless, weight_of
from concord.runs.store import RunStore
from concord.runs.stream_order import require_order
from concord.tasks.task import S, Task, Tree
from concord.training.average import refuse_narrow
from concord.training.beside import Beside
from concord.training.job import Feed, Job, Plan
from concord.training.loop import Rule, require_all
from concord.training.observer import SILENT, Observer
from concord.training.optim import learning_rate
from concord.training.probe import Shape
from concord.training.seeding import purpose_seed
from concord.training.store import Memory, Store
from concord.training.trial import all_put_back


def own_job(
    members: Mapping[str, nn.Module],
    parts: Parts,
    task: Task[S],
    binding: Binding,
    choices: Choices,
    config: Config,
    *,
    out: Path | None,
    beside: Mapping[str, Beside] | None = None,
    shape: Shape | None = None,
    observer: Observer = SILENT,
    stop: Callable[[], bool] = lambda: False,
) -> Job[S]:
    """A training that can start. With ``out`` its store is the run folder there, made if there is none.

    ``config`` are the same choices as a document; ``shape`` is that of an input that is a single tensor.
    """
    refuse_idle(members)
    require_order(parts.train, config.train)
    if config.train.ema:
        refuse_narrow(members)
    if isinstance(choices.optimizer, torch.optim.Optimizer):
        require_all(members, choices.optimizer)  # before a folder is made

    def attempt(x: Tree, y: Tree, where: str) -> None:
        with all_put_back(members):
            try_members(members, x, y, task, where)

    feed = feed_of(
        parts,
        task,
        attempt,
        batch_size=config.train.batch_size,
        seed=config.train.seed,
        workers=parts.workers if choices.workers is None else choices.workers,
        shuffle=config.train.shuffle,
    )
    for notice in pointless(config):
        observer.notice(notice)
    looking = looks_at_validation(config)
    if looking and not feed.has_valid:
        raise UsageError(f"{looking.rpartition('.')[2]} looks at validation data: give valid")
    return Job(
        members=members,
        feed=feed,
        task=task,
        plan=_plan(config, binding, choices, feed.steps),
        store=_store(out, config, members, feed, parts, task, observer),
        seeds={name: purpose_seed(config.train.seed, "dropout", name) for name in members},
        precision=dict.fromkeys(members, choices.precision),
        beside=beside,
        probes={} if shape is None or out is None else dict.fromkeys(members, shape),
        stop=stop,
        observer=observer,
    )


def _plan(config: Config, binding: Binding, choices: Choices, steps: int) -> Plan:
    train, own = config.train, choices.optimizer
    rate = None
    if not isinstance(own, torch.optim.Optimizer) and choices.schedule is not None:
        rate = learning_rate(
            own.lr,
            train.schedule,
            epochs=train.epochs,
            steps=steps,
            warmup=train.warmup,
            cycles=train.cycles,
        )
    return Plan(
        epochs=train.epochs,
        optimizer=(lambda members: own) if isinstance(own, torch.optim.Optimizer) else own,
        rate=rate,
        bind=partial(binding.bind, config),
        weight=weight_of(config.consensus, train.epochs * steps),
        rule=Rule(choices.alternating, train.clip, train.micro_batch),
        ema=train.ema,
        patience=train.patience,
        checkpoint_seconds=train.checkpoint_seconds,
    )


def _store(
    out: Path | None,
    config: Config,
    members: Mapping[str, nn.Module],
    feed: Feed,
    parts: Parts,
    task: Task[Any],
    observer: Observer,
) -> Store:
    if out is None:
        return Memory(best=config.train.patience is not None)
    interface = interface_of(parts, task)
    if out.is_file():
        raise UsageError(f"{out} is a file: out is a folder")
    if not (out / "config.toml").exists():
        run_folder.create(out, config, machine.stamp(config, feed.fingerprint), interface)
    return RunStore(
        RunFolder(out, call=f"fit(..., out={str(out)!r})"),
        config,
        members,
        interface,
        feed.fingerprint,
        feed.steps,
        task.size,
        observer,
        otherwise="give another out",
    )


def interface_of(parts: Parts, task: Task[Any]) -> dict[str, Any]:
    """What interface.json holds of data that was given in Python."""
    spec = getattr(parts.train, "spec", None)
    classes = getattr(task, "classes", None)
    named = list(spec.classes) if spec and spec.classes else [str(k) for k in range(classes or 0)]
    plain: dict[str, Any] = {
        "kind": spec.kind if spec else "loader",
        "shape": _plain(spec.shape) if spec else None,
        "classes": named,
    }
    if spec and spec.normalise is not None:
        plain |= {"mean": list(spec.normalise.mean), "std": list(spec.normalise.std)}
    return plain


def _plain(shape: Any) -> Any:
    if isinstance(shape, Mapping):
        return {key: _plain(inside) for key, inside in shape.items()}
    return [_plain(inside) for inside in shape] if isinstance(shape, tuple | list) else shape

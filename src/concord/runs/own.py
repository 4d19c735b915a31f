"""A training of modules, data and settings that a Python user gives as objects: from these to a job."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from concord.consensus import names
from concord.consensus.costs import PairCost
from concord.consensus.edges import Edges
from concord.consensus.objective import Consensus, pairwise
from concord.errors import UsageError
from concord.runs import folder as run_folder
from concord.runs import machine
from concord.runs.config import Config
from concord.runs.config import Consensus as Settings
from concord.runs.feed_of_data import feed_of
from concord.runs.feeds import seed_of
from concord.runs.folder import RunFolder
from concord.runs.given import Parts
from concord.runs.plan import consensus_of, edges_of, weight_of
from concord.runs.store import RunStore
from concord.tasks.task import S, Task
from concord.training.job import Feed, Job, Plan, Seen
from concord.training.loop import Rule
from concord.training.observer import SILENT, Observer
from concord.training.optim import Adam, Sgd, learning_rate
from concord.training.store import Memory, Store

Cost = str | PairCost
Bound = str | Edges | list[list[float]]


@dataclass(frozen=True)
class Binding:
    """What pulls the predictions of members together: cost, weight and edges, as ``Config`` has them too."""

    consensus: Cost = "none"
    weight: float = 0.0
    edges: Bound = "chain"
    temperature: float | None = None

    def settings(self) -> Settings:
        """The same as a table of settings; UsageError for what does not fit together."""
        cost = self.consensus if isinstance(self.consensus, str) else _named(self.consensus)
        edges = [list(row) for row in self.edges.weight] if isinstance(self.edges, Edges) else self.edges
        tables = {
            "cost": cost,
            "weight": float(self.weight),
            "edges": edges,
            "temperature": self.temperature,
        }
        if isinstance(self.edges, Edges):
            tables["detach"] = [list(row) for row in self.edges.detach]
        from concord.runs import toml

        return toml.checked(Settings, {k: v for k, v in tables.items() if v is not None}, "consensus", "")

    def of(self, config: Config, seen: Seen) -> Consensus:
        """The consensus of an epoch."""
        if callable(self.consensus):
            return pairwise(self.consensus)
        return consensus_of(config.consensus, len(config.members), seen)


def _named(given: object) -> str:
    """``python:`` and what a user's function or class is called."""
    kind = given if hasattr(given, "__qualname__") else type(given)
    return f"{names.OWN}{kind.__module__}.{kind.__qualname__}".replace("<", "").replace(">", "")


@dataclass(frozen=True)
class Choices:
    """How to train, with the words of [train] in a settings file."""

    epochs: int = 30
    batch_size: int = 64
    optimizer: Adam | Sgd | torch.optim.Optimizer = field(default_factory=Adam)
    schedule: str | None = "halving"  # None: the rate stays as the optimizer has it
    warmup: float = 0.0
    clip: float | None = None
    patience: int | None = None
    alternating: bool = False
    micro_batch: int | None = None
    precision: torch.dtype = torch.float32
    checkpoint_seconds: float = 60.0
    workers: int = 0
    seed: int = 0


def config_of(
    members: Mapping[str, nn.Module], binding: Binding, choices: Choices, task: Task[Any]
) -> Config:
    """The settings of such a training as a document; UsageError that names what cannot be."""
    from concord.runs import toml

    train = {
        "epochs": choices.epochs,
        "batch_size": choices.batch_size,
        "seed": choices.seed,
        "task": type(task).__name__.lower(),
        "optimizer": _optimizer_table(choices.optimizer),
        "schedule": choices.schedule or "constant",
        "warmup": float(choices.warmup),
        "clip": choices.clip,
        "patience": choices.patience,
        "update": "alternating" if choices.alternating else "simultaneous",
        "micro_batch": choices.micro_batch,
        "precision": str(choices.precision).removeprefix("torch."),
        "device": "cpu",
        "checkpoint_seconds": float(choices.checkpoint_seconds),
    }
    return toml.parse(
        {
            "data": {"source": "python"},
            "members": [{"name": name, "network": _named(net)} for name, net in members.items()],
            "consensus": binding.settings().model_dump(exclude_none=True),
            "train": {key: value for key, value in train.items() if value is not None},
        },
        "arguments",
    )


def _optimizer_table(optimizer: Adam | Sgd | torch.optim.Optimizer) -> dict[str, Any]:
    if isinstance(optimizer, Sgd):
        return {"kind": "sgd", **vars(optimizer)}
    if isinstance(optimizer, Adam):
        plain = {key: value for key, value in vars(optimizer).items() if key != "decoupled"}
        return {"kind": "adamw" if optimizer.decoupled else "adam", **plain}
    if isinstance(optimizer, torch.optim.Optimizer):
        rate = float(optimizer.param_groups[0]["lr"])
        return {"kind": "python", "lr": rate, "name": type(optimizer).__name__}
    raise UsageError(
        f"optimizer is concord.Adam(...), concord.Sgd(...) or a torch optimizer made of the parameters of all"
        f" members; got {optimizer!r}"
    )


def own_job(
    members: Mapping[str, nn.Module],
    parts: Parts,
    task: Task[S],
    binding: Binding,
    choices: Choices,
    *,
    out: Path | None,
    observer: Observer = SILENT,
    stop: Callable[[], bool] = lambda: False,
) -> Job[S]:
    """A training that can start. With ``out`` its store is the run folder there, made if there is none."""
    config = config_of(members, binding, choices, task)
    feed = feed_of(parts, batch_size=choices.batch_size, seed=choices.seed, workers=choices.workers)
    if choices.patience is not None and not feed.has_valid:
        raise UsageError("patience looks at validation data: give valid")
    return Job(
        members=members,
        feed=feed,
        task=task,
        plan=_plan(config, binding, choices, feed.steps),
        store=_store(out, config, members, feed, parts, task, observer),
        seeds={name: seed_of(choices.seed, "dropout", name) for name in members},
        precision=dict.fromkeys(members, choices.precision),
        stop=stop,
        observer=observer,
    )


def _plan(config: Config, binding: Binding, choices: Choices, steps: int) -> Plan:
    own = choices.optimizer
    rate = None
    if not isinstance(own, torch.optim.Optimizer) and choices.schedule is not None:
        rate = learning_rate(
            own.lr, choices.schedule, epochs=choices.epochs, steps=steps, warmup=choices.warmup
        )

    def bind(epoch: int, seen: Seen) -> tuple[Consensus, Edges]:
        return binding.of(config, seen), edges_of(config, epoch, seen)

    return Plan(
        epochs=choices.epochs,
        optimizer=(lambda members: own) if isinstance(own, torch.optim.Optimizer) else own,
        rate=rate,
        bind=bind,
        weight=weight_of(config.consensus, choices.epochs * steps),
        rule=Rule(choices.alternating, choices.clip, choices.micro_batch),
        patience=choices.patience,
        checkpoint_seconds=choices.checkpoint_seconds,
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
    folder = RunFolder(out)
    if not (out / "config.toml").exists():
        run_folder.create(out, config, machine.stamp(config, feed.fingerprint), interface)
    return RunStore(folder, config, members, interface, feed.fingerprint, feed.steps, task.size, observer)


def interface_of(parts: Parts, task: Task[Any]) -> dict[str, Any]:
    """What interface.json holds of data that was given in Python."""
    spec = getattr(parts.train, "spec", None)
    classes = getattr(task, "classes", None)
    names_ = list(spec.classes) if spec and spec.classes else [str(k) for k in range(classes or 0)]
    plain: dict[str, Any] = {
        "kind": spec.kind if spec else "loader",
        "shape": _plain(spec.shape) if spec else None,
        "classes": names_,
    }
    if spec and spec.normalise is not None:
        plain |= {"mean": list(spec.normalise.mean), "std": list(spec.normalise.std)}
    return plain


def _plain(shape: Any) -> Any:
    if isinstance(shape, Mapping):
        return {key: _plain(inside) for key, inside in shape.items()}
    return [_plain(inside) for inside in shape] if isinstance(shape, tuple | list) else shape

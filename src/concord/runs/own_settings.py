"""What a Python user chooses for a training, checked, and the same as the tables of a settings file."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypedDict, TypeVar

import numpy as np
import torch
from pydantic import BaseModel
from torch import Tensor, nn

from concord.consensus import names
from concord.consensus.costs import PairCost
from concord.consensus.edges import Edges
from concord.consensus.objective import Consensus, pairwise
from concord.errors import ShapeError, UsageError
from concord.runs import toml
from concord.runs.config import Config, Train
from concord.runs.config_consensus import Consensus as Settings
from concord.runs.config_consensus import known_cost
from concord.runs.plan import consensus_of, edges_of
from concord.tasks.classify import Classify
from concord.tasks.task import Task
from concord.training.job import Seen
from concord.training.muon import Muon
from concord.training.optim import Adam, Sgd

Cost = str | PairCost
Bound = str | Edges | Sequence[Sequence[float]]
M = TypeVar("M", bound=BaseModel)
PRECISIONS = (torch.float32, torch.bfloat16)


class Bindings(TypedDict, total=False):
    """The arguments of ``Ensemble`` that make a ``Binding``."""

    consensus: Cost
    weight: float | None
    edges: Bound
    temperature: float | None


@dataclass(frozen=True)
class Binding:
    """What pulls the predictions of members together: cost, weight and edges, as ``Config`` has them too."""

    consensus: Cost = "none"
    weight: float | None = None  # None: the recommended weight of the cost
    edges: Bound = "chain"
    temperature: float | None = None

    def settings(self) -> Settings:
        """The same as a table of settings; UsageError for what does not fit together."""
        tables = {
            "cost": self._cost(),
            "weight": _number(self.weight),
            "edges": self._edges(),
            "temperature": _number(self.temperature),
        }
        if isinstance(self.edges, Edges):
            tables["detach"] = [list(row) for row in self.edges.detach]
        return _checked(Settings, tables, "the consensus")

    def _cost(self) -> str:
        given = self.consensus
        if not isinstance(given, str):
            if not callable(given) or isinstance(given, type):
                raise UsageError(
                    "consensus is the name of a cost, or a function of two batches of logits (R, K) to (R,);"
                    f" got {given!r}"
                )
            if self.temperature is not None:
                raise UsageError('temperature belongs to consensus="kl" and to KDCL, not to a function')
            return own_name(given)
        try:
            known_cost(given)
        except ValueError as error:
            raise UsageError(f"consensus: {error}, got {given!r}") from None
        if given == "none" and isinstance(self.weight, int | float) and self.weight > 0:
            raise UsageError(
                f'a weight (here {self.weight:g}) needs a consensus: consensus="l2", for example'
            )
        if self.temperature is not None and not given.startswith(("kl", "kdcl")):
            raise UsageError(f'temperature belongs to consensus="kl" and to KDCL, not to {given!r}')
        return given

    def _edges(self) -> Any:
        given = self.edges
        if isinstance(given, Edges):
            if given.blend:
                raise UsageError('edges with blend are given by name: edges="mean"')
            return [list(row) for row in given.weight]
        if isinstance(given, Tensor | np.ndarray):
            return given.tolist()
        return given if isinstance(given, str) else [list(row) for row in _rows(given)]

    def bind(self, config: Config, epoch: int, seen: Seen) -> tuple[Consensus, Edges]:
        """The consensus and the edges of an epoch, where ``config`` has the settings of this binding."""
        edges = edges_of(config, epoch, seen)
        if isinstance(self.consensus, str):
            return consensus_of(config.consensus, len(config.members), seen), edges
        return pairwise(_per_row(self.consensus)), edges


def _rows(given: Any) -> list[Any]:
    try:
        return [list(row) for row in given]
    except TypeError:
        raise UsageError(f"edges are a name, a square table of numbers or Edges, got {given!r}") from None


def _per_row(cost: PairCost) -> PairCost:
    """The same cost; ShapeError where it does not give one number for each row."""

    def checked(own: Tensor, peer: Tensor) -> Tensor:
        found = cost(own, peer)
        if not isinstance(found, Tensor) or found.shape != own.shape[:1]:
            given = tuple(found.shape) if isinstance(found, Tensor) else type(found).__name__
            raise ShapeError(
                f"the consensus must give one number for each of {len(own)} rows, ({len(own)},), got {given}"
            )
        return found

    return checked


def own_name(given: object) -> str:
    """``python:`` and what a user's function or class is called."""
    kind = given if hasattr(given, "__qualname__") else type(given)
    return f"{names.OWN}{kind.__module__}.{kind.__qualname__}".replace("<", "").replace(">", "")


@dataclass(frozen=True)
class Choices:
    """How to train, with the words of [train] in a settings file."""

    epochs: int = 30
    batch_size: int = 64
    optimizer: Adam | Sgd | Muon | torch.optim.Optimizer = field(default_factory=Adam)
    schedule: str | None = "halving"  # None: the rate stays as the optimizer has it
    warmup: float = 0.0
    cycles: int = 1
    ema: float = 0.0
    clip: float | None = None
    patience: int | None = None
    alternating: bool = False
    micro_batch: int | None = None
    shuffle: bool = True
    precision: torch.dtype = torch.float32
    checkpoint_seconds: float = 60.0
    workers: int | None = None  # None: as the data say
    seed: int = 0

    def table(self, members: Mapping[str, nn.Module], task: Task[Any]) -> Train:
        """The same as a table of settings; UsageError that names the argument."""
        if self.precision not in PRECISIONS:
            known = " or ".join(map(str, PRECISIONS))
            raise UsageError(f"precision is {known}, got {self.precision!r}")
        if self.micro_batch is not None and self.alternating:
            raise UsageError("micro_batch needs the simultaneous update: leave alternating out")
        if self.workers is not None and (type(self.workers) is not int or self.workers < 0):
            raise UsageError(f"workers is a number of processes from 0, got {self.workers!r}")
        own = isinstance(self.optimizer, torch.optim.Optimizer)
        tables = {
            "epochs": _number(self.epochs),
            "batch_size": _number(self.batch_size),
            "seed": _number(self.seed),
            "task": type(task).__name__.lower(),
            "label_smoothing": task.label_smoothing if isinstance(task, Classify) else None,
            "optimizer": _optimizer_table(self.optimizer),
            "schedule": "constant" if own or self.schedule is None else self.schedule,
            "warmup": _number(self.warmup),
            "cycles": _number(self.cycles),
            "ema": _number(self.ema),
            "clip": _number(self.clip),
            "patience": _number(self.patience),
            "update": "alternating" if self.alternating else "simultaneous",
            "micro_batch": _number(self.micro_batch),
            "shuffle": self.shuffle,
            "precision": str(self.precision).removeprefix("torch."),
            "device": _device(members),
            "checkpoint_seconds": _number(self.checkpoint_seconds),
        }
        return _checked(Train, tables, "the arguments of fit")


def _checked(model: type[M], tables: Mapping[str, Any], where: str) -> M:
    return toml.checked(model, {key: value for key, value in tables.items() if value is not None}, where)


def _number(given: Any) -> Any:
    """Numbers of numpy as Python's own; what is no number is refused later."""
    return given.item() if isinstance(given, np.generic) else given


def _device(members: Mapping[str, nn.Module]) -> str:
    """Where the first member lies, as a settings file can say it."""
    device = next((p.device for member in members.values() for p in member.parameters()), torch.device("cpu"))
    return str(device) if device.type in ("cpu", "cuda") else "cpu"


def _optimizer_table(optimizer: Adam | Sgd | Muon | torch.optim.Optimizer) -> dict[str, Any]:
    if isinstance(optimizer, Sgd | Muon):
        return {"kind": type(optimizer).__name__.lower(), **vars(optimizer)}
    if isinstance(optimizer, Adam):
        plain = {key: value for key, value in vars(optimizer).items() if key != "decoupled"}
        return {"kind": "adamw" if optimizer.decoupled else "adam", **plain}
    if isinstance(optimizer, torch.optim.Optimizer):
        rate = float(optimizer.param_groups[0]["lr"])
        return {"kind": "python", "lr": rate, "name": type(optimizer).__name__}
    raise UsageError(
        "optimizer is concord.Adam(...), concord.Sgd(...), concord.Muon(...) or a torch optimizer made of the"
        f" parameters of all members; got {optimizer!r}"
    )


def config_of(
    members: Mapping[str, nn.Module], binding: Binding, choices: Choices, task: Task[Any]
) -> Config:
    """The settings of such a training as a document; UsageError that names what cannot be."""
    train = choices.table(members, task)
    return toml.parse(
        {
            "data": {"source": "python"},
            "members": [{"name": name, "network": own_name(net)} for name, net in members.items()],
            "consensus": binding.settings().model_dump(exclude_none=True),
            "train": train.model_dump(exclude_none=True),
        },
        "the arguments",
    )

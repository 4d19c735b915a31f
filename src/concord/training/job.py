"""Everything that a training is made of."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic

import torch
from torch import nn

from concord.consensus.edges import Edges
from concord.consensus.objective import Consensus
from concord.tasks.task import S, Task
from concord.training.batch import Batch
from concord.training.beside import Beside
from concord.training.cohort import Adversarial
from concord.training.evaluate import Samples
from concord.training.loop import Rule, Weight
from concord.training.observer import SILENT, Observer
from concord.training.optim import MakeOptimizer, Rate
from concord.training.probe import Shape
from concord.training.store import Memory, Store

Seen = Mapping[str, Any] | None  # the validation scores of the epoch before, as plain values


@dataclass(frozen=True)
class Feed:
    """Where samples come from; ``train(epoch, start)`` yields the batches of an epoch from a step on."""

    steps: int
    train: Callable[[int, int], Iterator[Batch]]
    valid: Callable[[], Samples]
    test: Callable[[], Samples]
    has_valid: bool
    fingerprint: str
    notices: tuple[str, ...] = ()  # what whoever reads the result should know about the data
    close: Callable[[], None] = lambda: (
        None
    )  # ends processes that make batches; the next batch starts new ones


@dataclass(frozen=True)
class Plan:
    """How members are optimised. ``bind`` gives the consensus and the edges of an epoch (from 0)."""

    epochs: int
    optimizer: MakeOptimizer
    rate: Rate | None  # of an update; None leaves the rate to the optimizer
    bind: Callable[[int, Seen], tuple[Consensus, Edges]]
    weight: Weight
    rule: Rule = field(default_factory=Rule)
    ema: float = 0.0  # decay of the average of each member's weights, see ``average``; 0: none
    patience: int | None = None  # epochs without a better validation score before stopping
    test_each_epoch: bool = False  # otherwise the test set is predicted once, at the end
    checkpoint_seconds: float = 60.0  # between saves within an epoch


@dataclass(frozen=True)
class Job(Generic[S]):
    """Everything that a training is made of. ``seeds`` are those of each member's dropout."""

    members: Mapping[str, nn.Module]
    feed: Feed
    task: Task[S]
    plan: Plan
    store: Store = field(default_factory=Memory)
    seeds: Mapping[str, int] | None = None
    precision: Mapping[str, torch.dtype] | None = None  # of each member; None: float32
    adversarial: Adversarial | None = None
    stacks: tuple[tuple[str, ...], ...] = ()
    beside: Mapping[str, Beside] | None = None  # what is known of the members since they were built
    probes: Mapping[str, Shape] = field(default_factory=dict)  # shapes of inputs, see training.probe
    stop: Callable[[], bool] = lambda: False
    observer: Observer = SILENT

"""What a training is made of: where samples come from, and everything together."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from concord.runs.config import Config
from concord.runs.folder import RunFolder
from concord.tasks.classify import Classify
from concord.training import evaluate
from concord.training.agreement import Adversarial, Batch


@dataclass(frozen=True)
class Feed:
    """Where samples come from; ``train(epoch, start)`` yields the batches of an epoch from a step on."""

    steps: int
    train: Callable[[int, int], Iterator[Batch]]
    valid: Callable[[], evaluate.Samples]
    test: Callable[[], evaluate.Samples]
    has_valid: bool
    fingerprint: str
    notices: tuple[str, ...] = ()  # what whoever reads the result should know about the data


@dataclass(frozen=True)
class Job:
    """Everything that a training is made of. ``seeds`` are those of each member's dropout."""

    folder: RunFolder
    config: Config
    members: Mapping[str, nn.Module]
    seeds: tuple[int, ...]
    feed: Feed
    interface: Mapping[str, Any]  # what interface.json holds
    task: Classify
    precision: tuple[torch.dtype, ...]  # of each member
    adversarial: Adversarial | None = None
    stacks: tuple[tuple[int, ...], ...] = ()
    stop: Callable[[], bool] = lambda: False
    warn: Callable[[str], None] = lambda text: None

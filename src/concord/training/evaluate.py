"""Predictions on held-out samples, in float32 whatever members were trained in."""

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from concord.errors import ShapeError
from concord.tasks.task import Bounded, Ranking, S, Task, Tree
from concord.training.batch import count
from concord.training.devices import forward
from concord.training.foreign import blamed

Samples = Iterable[tuple[Tree, Tree]]
FILLER = -1  # behind the last step of a sample that is kept beside longer ones


class InterruptedEvaluation(Exception):
    """A stop was asked for between two batches."""


@dataclass(frozen=True)
class Evaluated:
    """A tally over all samples, and what the task keeps of every member's predictions.

    ``rows`` are those of a task that ranks, of all samples. ``targets`` are those of the samples of which
    predictions are kept, if a target is one tensor.
    """

    tally: Tensor
    rows: Tensor | None = None
    predictions: Mapping[str, Mapping[str, Tensor]] = field(default_factory=dict)  # member -> key -> (N, ...)
    targets: Tensor | None = None


@torch.no_grad()
def outputs(members: Mapping[str, nn.Module], x: Tree) -> list[Tree]:
    """Output of every member in evaluation mode and float32; UsageError that names the one that fails."""
    found = []
    for name, member in members.items():
        with blamed(name, member, "in evaluation"):
            found.append(output_of(member, x))
    return found


@torch.no_grad()
def output_of(member: nn.Module, x: Tree) -> Tree:
    """Output of one member in evaluation mode and float32."""
    with evaluating({"": member}):
        return tree_map(_single, forward(member, x, torch.float32))


def _single(leaf: Any) -> Any:
    return leaf.float() if isinstance(leaf, Tensor) and leaf.is_floating_point() else leaf


@contextmanager
def evaluating(members: Mapping[str, nn.Module]) -> Iterator[None]:
    """Members in evaluation mode; afterwards each of their modules is in the mode that it had."""
    with modes_kept(members):
        for member in members.values():
            member.eval()
        yield


@contextmanager
def modes_kept(members: Mapping[str, nn.Module]) -> Iterator[None]:
    """Afterwards each module of the members is in the mode that it had.

    A member may do more than set a flag, as LoRA's layers do, which take their product out of the weights: so
    its own ``train`` is called.
    """
    modes = [(module, module.training) for member in members.values() for module in member.modules()]
    roots = [(member, member.training) for member in members.values()]
    try:
        yield
    finally:
        for member, mode in roots:
            if member.training != mode:
                member.train(mode)
        for module, mode in modes:
            module.training = mode


def evaluate(
    members: Mapping[str, nn.Module],
    samples: Samples,
    task: Task[Any],
    *,
    keep: bool = False,
    stop: Callable[[], bool] = lambda: False,
) -> Evaluated:
    """Tally of the task over all batches, and with ``keep`` what it keeps of the predictions, on the CPU.

    Raises InterruptedEvaluation when ``stop`` says so, and ShapeError when there are no samples.
    """
    total: Tensor | None = None
    ranked: list[Tensor] = []
    kept = _Kept(task, members)
    for x, y in samples:
        if stop():
            raise InterruptedEvaluation
        found = outputs(members, x)
        part = task.tally(found, [y] * len(found))
        total = part if total is None else total + part
        if isinstance(task, Ranking):
            ranked.append(task.rows(found, [y] * len(found)).cpu())
        if keep:
            kept.add(found, y)
    if total is None:
        raise ShapeError("there are no samples to evaluate on")
    return Evaluated(total, torch.cat(ranked) if ranked else None, *kept.whole())


class _Kept:
    """What the task keeps of the outputs of all batches, or of the first samples where it says so."""

    def __init__(self, task: Task[Any], names: Iterable[str]) -> None:
        self.task, self.left = task, task.keeps if isinstance(task, Bounded) else sys.maxsize
        self.kept: dict[str, list[Mapping[str, Tensor]]] = {name: [] for name in names}
        self.targets: list[Tree] = []

    def add(self, outputs: Sequence[Tree], y: Tree) -> None:
        """The outputs of all members for one batch, and its targets."""
        if self.left <= 0:
            return
        first = slice(self.left)
        self.left -= count(y)
        for parts, output in zip(self.kept.values(), outputs, strict=True):
            there = self.task.kept(tree_map(lambda leaf: leaf[first], output))
            parts.append({key: value.cpu() for key, value in there.items()})
        self.targets.append(y[first].cpu() if isinstance(y, Tensor) else None)

    def whole(self) -> tuple[dict[str, dict[str, Tensor]], Tensor | None]:
        """Predictions by member and key, and the targets if each is one tensor."""
        predictions = {name: _joined(parts) for name, parts in self.kept.items() if parts and parts[0]}
        one = bool(predictions) and all(isinstance(y, Tensor) for y in self.targets)
        return predictions, _rows(self.targets) if one else None


def scores_of(task: Task[S], found: Evaluated, names: Sequence[str]) -> S:
    """The scores of what was evaluated, of a task that ranks with what its rows tell."""
    if found.rows is not None and isinstance(task, Ranking):
        scores: S = task.ranked(found.tally, found.rows, names)
        return scores
    return task.scores(found.tally, names)


def _joined(parts: list[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    return {key: _rows([part[key] for part in parts]) for key in parts[0]}


def _rows(parts: list[Tensor]) -> Tensor:
    """Samples of all batches; those of fewer steps (B, T) are filled up with -1. Shape: -> (N, ...)"""
    if parts[0].ndim != 2 or len({part.shape[1] for part in parts}) == 1:
        return torch.cat(parts)
    longest = max(part.shape[1] for part in parts)
    return torch.cat([F.pad(part, (0, longest - part.shape[1]), value=FILLER) for part in parts])

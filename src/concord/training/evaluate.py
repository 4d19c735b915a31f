"""Predictions on held-out samples, in float32 whatever members were trained in."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from concord.errors import ShapeError
from concord.tasks.task import Ranking, S, Task, Tree
from concord.training.devices import forward
from concord.training.foreign import blamed

Samples = Iterable[tuple[Tree, Tree]]
FILLER = -1  # behind the last step of a sample that is kept beside longer ones


class InterruptedEvaluation(Exception):
    """A stop was asked for between two batches."""


@dataclass(frozen=True)
class Evaluated:
    """A tally over all samples, and what the task keeps of every member's predictions.

    ``rows`` are those of a task that ranks, of all samples. ``targets`` are those of the same samples, if
    predictions are kept and a target is one tensor.
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
    kept: dict[str, list[Mapping[str, Tensor]]] = {name: [] for name in members}
    targets: list[Tree] = []
    for x, y in samples:
        if stop():
            raise InterruptedEvaluation
        found = outputs(members, x)
        part = task.tally(found, [y] * len(found))
        total = part if total is None else total + part
        if isinstance(task, Ranking):
            ranked.append(task.rows(found, [y] * len(found)).cpu())
        if keep:
            for name, output in zip(members, found, strict=True):
                kept[name].append({key: value.cpu() for key, value in task.kept(output).items()})
            targets.append(y.cpu() if isinstance(y, Tensor) else None)
    if total is None:
        raise ShapeError("there are no samples to evaluate on")
    predictions = {name: _joined(parts) for name, parts in kept.items() if parts and parts[0]}
    one = bool(predictions) and all(isinstance(y, Tensor) for y in targets)
    rows = torch.cat(ranked) if ranked else None
    return Evaluated(total, rows, predictions, _rows(targets) if one else None)


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

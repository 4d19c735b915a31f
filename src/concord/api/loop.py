"""A training loop of your own over a cohort: one update for each ``next``.

cohort = concord.cohort({"small": Small(), "big": Big()}, consensus="l2", classes=10)
for step in concord.updates(cohort, loader, optimizer, weight=0.01):
    print(step.index, step.losses.tolist())
"""

from collections.abc import Iterable, Iterator, Sequence
from math import isfinite
from typing import Any

import torch

from concord.consensus.names import MATCHINGS
from concord.errors import UsageError
from concord.runs.own_members import Members, named, refuse_task
from concord.runs.own_settings import Binding, Bound, Choices, Cost, config_of
from concord.tasks.classify import Classify
from concord.tasks.task import Task, Tree
from concord.training.batch import Batch
from concord.training.cohort import Cohort
from concord.training.loop import Rule, Step, Weight, train

__all__ = ["cohort", "updates"]


def cohort(
    members: Members,
    *,
    classes: int | None = None,
    task: Task[Any] | None = None,
    consensus: Cost = "l2",
    temperature: float | None = None,
    edges: Bound = "chain",
) -> Cohort:
    """Members and what binds them, for ``updates``; UsageError for what does not fit together.

    Give the number of ``classes``, or a ``task`` of another kind.
    """
    if isinstance(edges, str) and edges in MATCHINGS:
        raise UsageError(
            f"edges={edges!r} change with every epoch: give a table for each epoch, or use Ensemble"
        )
    if (classes is None) == (task is None):
        raise UsageError("give the number of classes, or a task")
    if task is None and not (type(classes) is int and classes > 1):
        raise UsageError(f"classes is their number, at least 2, got {classes!r}")
    chosen: Task[Any] = Classify(classes) if classes is not None else refuse_task(task)
    found = named(members)
    binding = Binding(consensus, 0.0, edges, temperature)
    pulled, between = binding.bind(config_of(found, binding, Choices(), chosen), 0, None)
    return Cohort(found, chosen, pulled, between)


def updates(
    cohort: Cohort,
    batches: Iterable[Batch | Sequence[Tree]],
    optimizer: torch.optim.Optimizer,
    *,
    weight: float | Weight = 0.0,
    rule: Rule = Rule(),
    start: int = 0,
) -> Iterator[Step]:
    """Train a cohort: one update, and its ``Step``, for each batch.

    ``batches`` are pairs (x, y) as a DataLoader gives them, or Batches. The loss is the sum of the losses of
    all members plus ``weight`` times the consensus; ``weight`` may be a function of the number of the update.
    A weight of 0 is the plain ensemble: every member gets the weights that it would get alone.

    Raises UsageError for an optimizer that lacks a parameter that learns, DivergedError, with the members
    named, for a loss that is not a number; then weights are as before that update.
    """
    if not isinstance(cohort, Cohort):
        raise UsageError(f"give what concord.cohort makes of the members, got {type(cohort).__name__}")
    if not isinstance(optimizer, torch.optim.Optimizer):
        raise UsageError(
            f"optimizer is a torch optimizer of the parameters of all members, got {optimizer!r}"
        )
    if not callable(weight) and not (isinstance(weight, int | float) and isfinite(weight) and weight >= 0):
        raise UsageError(f"weight is a finite number from 0, or a function of the update, got {weight!r}")
    return train(cohort, batches, optimizer, weight=weight, rule=rule, start=start)

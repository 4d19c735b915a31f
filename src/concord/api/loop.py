"""A training loop of your own over a cohort: one update for each ``next``.

cohort = concord.cohort({"small": Small(), "big": Big()}, consensus="l2", classes=10)
for step in concord.updates(cohort, loader, optimizer, weight=0.01):
    print(step.index, step.losses.tolist())
"""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn

from concord.consensus.costs import pair_cost
from concord.consensus.edges import Edges, shape, table
from concord.consensus.objective import pairwise
from concord.errors import UsageError
from concord.runs import own_run
from concord.runs.own import Bound, Cost
from concord.tasks.classify import Classify
from concord.tasks.task import Task
from concord.training.cohort import Cohort
from concord.training.loop import train as updates

__all__ = ["cohort", "updates"]


def cohort(
    members: Mapping[str, nn.Module] | Sequence[nn.Module],
    *,
    classes: int | None = None,
    task: Task[Any] | None = None,
    consensus: Cost = "l2",
    temperature: float = 1.0,
    edges: Bound = "chain",
) -> Cohort:
    """Members and what binds them, for ``updates``; UsageError for what does not fit together.

    Give the number of ``classes``, or a ``task`` of another kind.
    """
    named = own_run.named(members)
    if isinstance(edges, Edges):
        between = edges
    else:
        between = shape(edges, len(named)) if isinstance(edges, str) else table(edges)
    cost = pair_cost(consensus, temperature) if isinstance(consensus, str) else consensus
    if task is None:
        task = Classify(_given(classes))
    return Cohort(named, task, pairwise(cost), between)


def _given(classes: int | None) -> int:
    if classes is None:
        raise UsageError("give the number of classes, or a task")
    return classes

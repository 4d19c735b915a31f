"""What a Python user's members say of data: scores, probabilities, labels."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map
from torch.utils.data import DataLoader

from concord.data.loader import Loader
from concord.errors import ShapeError, UsageError
from concord.runs.given import Given, part_of
from concord.runs.inputs import input_batches
from concord.runs.own_members import output_of, try_members
from concord.runs.samples import Reader, first_two, in_order
from concord.tasks.classify import Classify
from concord.tasks.task import S, Task, Tree
from concord.training.batch import count, joined
from concord.training.evaluate import evaluate, scores_of


def scores(members: Mapping[str, nn.Module], data: Given, task: Task[S]) -> S:
    """Scores of these members and of their ensemble."""
    part = part_of(data, task)
    if isinstance(part, DataLoader):
        samples = Reader(part, task, lambda x, y, where: try_members(members, x, y, task, where)).batches()
    else:
        try_members(members, *first_two(part), task)
        samples = in_order(part, "data", Loader({"data": part}))
    return scores_of(task, evaluate(members, samples, task), list(members))


def probabilities(members: Mapping[str, nn.Module], x: Any, task: Task[Any]) -> Any:
    """softmax of the mean of logits; an array for an array, else a tensor. Shape: (N, ...) -> (N, K)

    Raises UsageError if the task is not that of a classifier.
    """
    if not isinstance(task, Classify):
        raise UsageError("predict_proba is for classifiers; use predict")
    found: Tensor = _combined(members, x, task).softmax(-1)
    return _as_given(x, found)


def labels(members: Mapping[str, nn.Module], x: Any, task: Task[Any]) -> Any:
    """The likeliest class, (N,); of another task what it combines. An array for an array, else a tensor."""
    found = _combined(members, x, task)
    return _as_given(x, found.argmax(-1) if isinstance(task, Classify) else found)


def _combined(members: Mapping[str, nn.Module], x: Any, task: Task[Any]) -> Any:
    return joined([task.combine(_outputs(members, batch, task)) for batch in input_batches(x)])


def _outputs(members: Mapping[str, nn.Module], x: Tree, task: Task[Any]) -> list[Tree]:
    """The output of every member; logits of a classifier have one row for each sample."""
    found = []
    for name, member in members.items():
        output = output_of(name, member, x)
        if isinstance(task, Classify) and tuple(output.shape) != (count(x), task.classes):
            raise ShapeError(
                f"member {name!r} must give logits ({count(x)}, {task.classes}), got {tuple(output.shape)};"
                " a single sample needs a first axis too: x[None]"
            )
        found.append(output)
    return found


def _as_given(x: Any, found: Tree) -> Any:
    arrays = any(isinstance(leaf, np.ndarray) for leaf in tree_leaves(x))
    return tree_map(lambda leaf: leaf.cpu().numpy() if arrays else leaf, found)

"""Modules that a Python user gives, tried before they are trained, and left as they were."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from concord.runs.given import Parts
from concord.runs.own_chance import by_chance
from concord.runs.own_members import refuse_lazy, try_members
from concord.runs.samples import first_two
from concord.tasks.task import Task
from concord.training.observer import Observer, announce
from concord.training.probe import Shape
from concord.training.state import refuse_lost
from concord.training.trial import all_put_back, try_training


def try_modules(
    members: Mapping[str, nn.Module],
    parts: Parts,
    task: Task[Any],
    observer: Observer,
    *,
    dense: bool,
    precision: torch.dtype,
) -> Shape | None:
    """Two samples of every part through all members, in both modes; gives the shape of an input.

    None for inputs that are not one tensor of floating-point numbers. UsageError for what cannot be trained;
    chance without a seed is announced. ``dense``, ``precision``: see ``try_training``.
    """
    sets = {name: first_two(part) for name, part in parts.sets().items()}
    with all_put_back(members):
        for name, (x, y) in sets.items():
            try_members(members, x, y, task, "" if name == "data" else name)
    refuse_lazy(members)  # a loader gives no sample before the training
    for name, member in members.items():
        refuse_lost(name, member)
    if "data" not in sets:
        return None
    x, y = sets["data"]
    for name, member in members.items():
        try_training(name, member, x, y, task, dense=dense, precision=precision)
        for sentence in by_chance(name, member, x, y, task):
            announce(observer, sentence)
    return tuple(x.shape[1:]) if isinstance(x, Tensor) and x.is_floating_point() else None

"""What can fail after hours of training, tried before it: a training pass, saving, and reading back."""

from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn

from concord.errors import UsageError
from concord.tasks.task import Task, Tree
from concord.training.batch import count
from concord.training.beside import Beside
from concord.training.devices import forward, home_of
from concord.training.foreign import backward, blamed
from concord.training.seeding import seeded
from concord.training.state import state_of, unpack_members


def try_training(name: str, member: nn.Module, x: Tree, y: Tree, task: Task[Any]) -> None:
    """One pass over (x, y) in training mode, forward and backward, a save and a read, on a copy.

    UsageError that names the member and the layer. A member that cannot be copied, as one with a lock, is
    tried itself and put back.
    """
    if not any(p.requires_grad for p in member.parameters()):
        return
    with seeded(0, home_of(member, x)), torch.enable_grad(), _copy_of(name, member) as copy:
        if not copy.training:
            copy.train()
        beside = Beside(name, copy)
        with blamed(name, copy, "when it was tried in training mode"):
            loss = _loss(task, forward(copy, x, torch.float32), y)
        if loss.requires_grad:
            backward(loss, [name], 0)
        with blamed(name, copy, "when its state was tried to be saved and read"):
            saved = {key: value.detach().clone() for key, value in state_of(copy).items()}
            unpack_members({name: copy}, {name: saved | beside.tensors()})


def _loss(task: Task[Any], output: Tree, y: Tree) -> Tensor:
    try:
        loss = task.loss(output, y)
        task.compare(output, y)
    except UsageError:
        raise
    except Exception as error:
        given = f"shape {tuple(output.shape)}" if isinstance(output, Tensor) else f"a {type(output).__name__}"
        raise UsageError(
            f"its output in training mode ({given}) does not fit the task {type(task).__name__}; a network"
            " with auxiliary outputs must give the same kind of output in both modes"
        ) from error
    if not isinstance(loss, Tensor) or loss.shape != (count(y),):
        raise UsageError(f"the loss must be one number for each of {count(y)} samples")
    return loss.mean()


@contextmanager
def _copy_of(name: str, member: nn.Module) -> Iterator[nn.Module]:
    try:
        copy = deepcopy(member)
    except Exception:  # what a module holds may be anything: a lock, an open file
        with _put_back(name, member):
            yield member
    else:
        yield copy


@contextmanager
def _put_back(name: str, member: nn.Module) -> Iterator[None]:
    modes = [(module, module.training) for module in member.modules()]
    weights = {key: value.detach().clone() for key, value in state_of(member).items()}
    before = weights | Beside(name, member, built=False).tensors()
    try:
        yield
    finally:
        unpack_members({name: member}, {name: before})
        member.zero_grad()
        for module, mode in modes:
            module.training = mode

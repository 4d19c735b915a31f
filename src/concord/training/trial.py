"""What can fail after hours of training, tried before it: a training pass, saving, and reading back."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from typing import Any

import torch
from safetensors.torch import save as to_bytes
from torch import Tensor, nn

from concord.errors import CheckpointError, UsageError
from concord.tasks.task import Task, Tree
from concord.training.batch import count
from concord.training.beside import Beside
from concord.training.checkpoint import detached
from concord.training.devices import forward, home_of
from concord.training.evaluate import modes_kept
from concord.training.foreign import backward, blamed
from concord.training.loop import set_mode
from concord.training.seeding import seeded
from concord.training.state import state_of, unpack_members


def try_training(name: str, member: nn.Module, x: Tree, y: Tree, task: Task[Any]) -> None:
    """One pass over (x, y) in training mode, forward and backward, a save and a read, on a copy.

    UsageError that names the member and the layer. A member that cannot be copied, as one with a lock, is
    tried itself and put back.
    """
    if not any(p.requires_grad for p in member.parameters()):
        return
    with seeded(0, home_of(member, x)), torch.enable_grad(), _copies_of(name, member) as (copy, fresh):
        set_mode(copy)
        beside = Beside(name, copy)
        with blamed(name, copy, "when it was tried in training mode"):
            loss = _loss(task, forward(copy, x, torch.float32), y)
        if loss.requires_grad:
            backward(loss, [name], 0)
        with blamed(name, copy, "when its state was tried to be saved and read"):
            _read_back(name, fresh, detached(state_of(copy) | beside.tensors()))


def _read_back(name: str, fresh: nn.Module, saved: Mapping[str, Tensor]) -> None:
    """What a checkpoint would hold after a training pass, into a member as it was built."""
    try:
        to_bytes(dict(saved))
        unpack_members({name: fresh}, {name: saved})
    except (CheckpointError, KeyError, ValueError, RuntimeError) as error:
        raise UsageError(f"no checkpoint could hold what it is after an update: {error}") from error


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
def _copies_of(name: str, member: nn.Module) -> Iterator[tuple[nn.Module, nn.Module]]:
    """One to train and one to read into; the member itself for both if it cannot be copied.

    It is put back in any case: a copy may still reach it, through a closure or a reference.
    """
    try:
        copies = deepcopy(member), deepcopy(member)
    except Exception:  # what a module holds may be anything: a lock, an open file
        copies = member, member
    with put_back(name, member):
        yield copies


@contextmanager
def put_back(name: str, member: nn.Module) -> Iterator[None]:
    """Afterwards a member is as it was: weights, modes, gradients, and what it holds beside its state."""
    gradients = [(parameter, parameter.grad) for parameter in member.parameters()]
    weights = {key: value.detach().clone() for key, value in state_of(member).items()}
    before = weights | Beside(name, member, built=False).tensors()
    try:
        with modes_kept({name: member}):
            yield
    finally:
        unpack_members({name: member}, {name: before})
        for parameter, gradient in gradients:
            parameter.grad = gradient

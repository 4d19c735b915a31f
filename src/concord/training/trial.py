"""What can fail after hours of training, tried before it: a training pass, saving, and reading back."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from copy import deepcopy
from typing import Any, TypeVar

import torch
from safetensors.torch import save as to_bytes
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.utils._pytree import tree_leaves

from concord.errors import CheckpointError, UsageError
from concord.tasks.task import Task, Tree
from concord.training import contract
from concord.training.batch import count
from concord.training.beside import Beside
from concord.training.checkpoint import detached
from concord.training.dense import refuse_output, refuse_sparse_gradients, refuse_tensors
from concord.training.devices import forward, home_of
from concord.training.evaluate import modes_kept
from concord.training.foreign import backward, blamed
from concord.training.loop import set_mode
from concord.training.places import modules_of
from concord.training.seeding import seeded
from concord.training.state import refuse_lost, state_of, unpack_members

_T = TypeVar("_T")


def try_training(
    name: str,
    member: nn.Module,
    x: Tree,
    y: Tree,
    task: Task[Any],
    *,
    dense: bool = False,
    precision: torch.dtype = torch.float32,
) -> None:
    """One pass over (x, y) in training mode, forward and backward, a save and a read, on a copy.

    UsageError that names the member and the layer; with ``dense`` also for gradients that are sparse.

    A member that cannot be copied, or whose copy fails, is tried itself and put back.
    """
    refuse_tensors(name, member)
    refuse_lost(name, member)
    if not _learns(member):
        return

    def attempt(one: nn.Module, fresh: nn.Module) -> None:
        beside = Beside(name, one)
        _pass_in(precision, name, one, x, y, task)
        if dense:
            refuse_sparse_gradients(name, one)
        with blamed(name, one, "when its state was tried to be saved and read"):
            _read_back(name, fresh, detached(state_of(one) | beside.tensors()))

    _on_copies(name, member, attempt)


def differs_by_chance(name: str, member: nn.Module, x: Tree, y: Tree, task: Task[Any]) -> bool:
    """Whether training passes from one state with the same seeds give different outputs or gradients."""
    return not alike(trained(name, member, x, y, task), trained(name, member, x, y, task))


def trained(name: str, member: nn.Module, x: Tree, y: Tree, task: Task[Any]) -> list[Tensor]:
    """Outputs and gradients of one pass in training mode, on a copy; none where nothing learns."""
    if not _learns(member):
        return []
    return _on_copies(name, member, lambda one, _: _pass(name, one, x, y, task))


def alike(one: Sequence[Tensor], other: Sequence[Tensor]) -> bool:
    """Whether tensors are equal but for rounding."""
    return len(one) == len(other) and all(map(_near, one, other))


def _near(one: Tensor, other: Tensor) -> bool:
    if one.shape != other.shape:
        return False
    size = one.nan_to_num().abs().max().item() if one.numel() else 0.0
    return torch.allclose(one, other, rtol=1e-3, atol=1e-4 + 1e-3 * size, equal_nan=True)


def _learns(member: nn.Module) -> bool:
    return any(parameter.requires_grad for parameter in member.parameters())


def _pass_in(precision: torch.dtype, name: str, member: nn.Module, x: Tree, y: Tree, task: Task[Any]) -> None:
    """A pass in the precision of the training; the refusal says so if float32 cures it."""
    try:
        _pass(name, member, x, y, task, precision)
    except UsageError as error:
        if precision == torch.float32:
            raise
        _pass(name, member, x, y, task)
        raise UsageError(
            f"{error}. It passes in float32: choose train.precision=float32 (in Python"
            " precision=torch.float32)"
        ) from error


def _pass(
    name: str, member: nn.Module, x: Tree, y: Tree, task: Task[Any], precision: torch.dtype = torch.float32
) -> list[Tensor]:
    """Outputs and gradients of one pass in training mode."""
    with seeded(0, home_of(member, x)), torch.enable_grad():
        set_mode(member)
        member.zero_grad()
        with blamed(name, member, "when it was tried in training mode"):
            output = forward(member, x, precision)
            loss = _loss(name, member, task, output, y)
        if loss.requires_grad:
            backward(loss, [name], 0)
    tensors = [*tree_leaves(output), *(p.grad for p in member.parameters())]
    return [t.detach().to_dense().float().cpu() for t in tensors if isinstance(t, Tensor)]


def _read_back(name: str, fresh: nn.Module, saved: Mapping[str, Tensor]) -> None:
    """What a checkpoint would hold after a training pass, into a member as it was built."""
    try:
        to_bytes(dict(saved))
        unpack_members({name: fresh}, {name: saved})
    except (CheckpointError, KeyError, ValueError, RuntimeError) as error:
        raise UsageError(f"no checkpoint could hold what it is after an update: {error}") from error


def _loss(name: str, member: nn.Module, task: Task[Any], output: Tree, y: Tree) -> Tensor:
    refuse_output(name, output)
    try:
        loss = contract.losses(member, task, output, y)
        task.compare(contract.together(member, task, output), y)
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


def _on_copies(name: str, member: nn.Module, attempt: Callable[[nn.Module, nn.Module], _T]) -> _T:
    """What ``attempt`` gives for a copy to train and one to read into.

    A hook that closes over the member writes to the member, whose copy then misses it: what fails on a copy
    is repeated on the member itself, which is put back in any case.
    """
    try:
        copy, fresh = deepcopy(member), deepcopy(member)
    except Exception:  # what a module holds may be anything: a lock, an open file
        copy = fresh = member
    if copy is not member:
        with put_back(name, member), suppress(UsageError):
            return attempt(copy, fresh)
    with put_back(name, member):
        return attempt(member, fresh)


@contextmanager
def all_put_back(members: Mapping[str, nn.Module]) -> Iterator[None]:
    """``put_back`` for all members but those with lazy layers, which get their sizes meanwhile."""
    with ExitStack() as stack:
        for name, member in members.items():
            if not any(is_lazy(tensor) for tensor in (*member.parameters(), *member.buffers())):
                stack.enter_context(put_back(name, member))
        yield


@contextmanager
def put_back(name: str, member: nn.Module) -> Iterator[None]:
    """Afterwards a member is as it was: weights, modes, gradients, and what it holds beside its state.

    UsageError for tensors that are not dense.
    """
    refuse_tensors(name, member)
    gradients = [(parameter, parameter.grad) for parameter in member.parameters()]
    there = [(module, set(vars(module))) for module in modules_of(member).values()]
    weights = {key: value.detach().clone() for key, value in state_of(member).items()}
    before = weights | Beside(name, member, built=False).tensors()
    try:
        with modes_kept({name: member}):
            yield
    finally:
        for module, names in there:
            for new in vars(module).keys() - names:
                del module.__dict__[new]
        now = state_of(member) | Beside(name, member, built=False).tensors()
        if not _same(before, now):
            unpack_members({name: member}, {name: before})
        for parameter, gradient in gradients:
            parameter.grad = gradient


def _same(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)

"""Modules that a Python user gives as members: their names, and whether they can do what is asked of them."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.utils._pytree import tree_leaves, tree_map

from concord.consensus.names import ENSEMBLE
from concord.errors import ConcordError, UsageError, suggestion
from concord.runs.config import LONGEST_NAME, NAME
from concord.tasks.task import Task, Tree
from concord.training.batch import count
from concord.training.cohort import refuse_shared
from concord.training.evaluate import output_of as evaluated
from concord.training.seeding import seeded

Members = Mapping[str, nn.Module] | Sequence[nn.Module] | nn.ModuleDict | nn.ModuleList


def named(members: Members) -> dict[str, nn.Module]:
    """Members by name; in a row they are called member-1, member-2, ...; UsageError for what is no module."""
    found = dict(_pairs(members))
    if not found:
        raise UsageError("an ensemble needs at least one member")
    for name, net in found.items():
        _refuse_name(name)
        if not isinstance(net, nn.Module):
            raise UsageError(f"member {name!r} must be a torch.nn.Module, got {_kind(net)}")
        if any(tensor.is_meta for tensor in (*net.parameters(), *net.buffers())):
            raise UsageError(
                f"member {name!r} is on the meta device, without values: use to_empty or build it on the CPU"
            )
    refuse_shared(found)
    return found


def _pairs(members: Any) -> list[tuple[Any, Any]]:
    if isinstance(members, Mapping | nn.ModuleDict):
        return list(members.items())
    if isinstance(members, nn.Module) and not isinstance(members, nn.ModuleList):
        raise UsageError("members is a mapping or a list of modules, got a single module: give [module]")
    if isinstance(members, str | bytes) or not isinstance(members, Sequence | nn.ModuleList):
        raise UsageError(
            f"members is a mapping of names to modules or a list of modules, got {_kind(members)}"
        )
    return [(f"member-{i}", net) for i, net in enumerate(members, 1)]


def _kind(given: object) -> str:
    return f"the class {given.__name__}" if isinstance(given, type) else type(given).__name__


def _refuse_name(name: object) -> None:
    if (
        not isinstance(name, str)
        or not re.fullmatch(NAME, name)
        or len(name) > LONGEST_NAME
        or name == ENSEMBLE
    ):
        raise UsageError(
            f"{name!r} cannot be the name of a member: a name has letters, digits, '.', '-' and '_', begins"
            f" with a letter or digit, has at most {LONGEST_NAME} characters and is not {ENSEMBLE!r}"
        )


def known(name: str, members: Mapping[str, nn.Module]) -> str:
    """The name, or UsageError with the nearest one."""
    if name not in members:
        near = suggestion(name, members) if isinstance(name, str) else ""
        raise UsageError(f"no member {name!r}{near}; there are: {', '.join(members)}")
    return name


def refuse_task(task: Any) -> Any:
    """The task itself; UsageError for what lacks a part of the protocol."""
    lacking = [
        name for name in vars(Task) if not name.startswith("_") and not callable(getattr(task, name, None))
    ]
    if lacking or isinstance(task, type):
        missing = f" without {', '.join(lacking)}" if lacking and not isinstance(task, str) else ""
        raise UsageError(f'task is "classify" or an object like concord.Task, got {task!r}{missing}')
    return task


def refuse_idle(members: Mapping[str, nn.Module]) -> None:
    """UsageError if no member has a parameter that learns."""
    if not any(p.requires_grad for member in members.values() for p in member.parameters()):
        raise UsageError(
            "no member has a parameter that learns: all are frozen (requires_grad is False) or have none"
        )


def refuse_lazy(members: Mapping[str, nn.Module]) -> None:
    """UsageError for a module whose layers do not know their sizes yet."""
    for name, member in members.items():
        if any(is_lazy(tensor) for tensor in (*member.parameters(), *member.buffers())):
            raise UsageError(
                f"member {name!r} has lazy layers without sizes: call it with a batch of inputs first"
            )


def try_members(members: Mapping[str, nn.Module], x: Tree, y: Tree, task: Task[Any], where: str = "") -> None:
    """The first two samples through every member and the task; UsageError that names what cannot be.

    ``where`` is what a message calls the samples. Lazy layers get their sizes here.
    """
    x, y = (tree_map(lambda leaf: leaf[:2], tree) for tree in (x, y))
    with _generators_kept(members):
        for name, member in members.items():
            try:
                output = output_of(name, member, x)
                _refuse_unusable(name, output, y, task)
            except UsageError as error:
                raise (UsageError(f"{where}: {error}") if where else error) from error.__cause__


def output_of(name: str, member: nn.Module, x: Tree) -> Tree:
    """The output of a member in evaluation mode; whatever it raises is a UsageError that names it."""
    try:
        return evaluated(member, x)
    except ConcordError as error:
        raise UsageError(f"member {name!r}: {error}") from error
    except (MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:  # a foreign network may raise anything
        raise UsageError(
            f"member {name!r} cannot take inputs of shape {_shapes(x)}: {type(error).__name__}: {error}"
            f"{_cure(member, x)}"
        ) from error


def widths(members: Mapping[str, nn.Module], x: Tree, shape: str = "(B, K)") -> int:
    """K, the number of logits of that shape that all members give; UsageError if they give something else."""
    axes = shape.strip("()").split(", ")
    with _generators_kept(members):
        given = {name: output_of(name, member, x) for name, member in members.items()}
    for name, output in given.items():
        if not isinstance(output, Tensor) or output.ndim != len(axes) or len(output) != count(x):
            raise UsageError(
                f"member {name!r} must give logits {shape}, got {_described(output)}; give task= for another"
                " kind of output"
            )
    found = {name: output.shape[axes.index("K")] for name, output in given.items()}
    if len(set(found.values())) > 1:
        listed = ", ".join(f"{name} {k}" for name, k in found.items())
        raise UsageError(f"members must give the same number of classes, got {listed}")
    return next(iter(found.values()))


def _refuse_unusable(name: str, output: Tree, y: Tree, task: Task[Any]) -> None:
    try:
        loss = task.loss(output, y)
        task.compare(output, y)
    except ConcordError as error:
        raise UsageError(f"member {name!r}: {error}") from error
    except Exception as error:
        raise UsageError(
            f"the output of member {name!r} ({_described(output)}) and targets of shape {_shapes(y)} do not"
            f" fit the task {type(task).__name__}: {type(error).__name__}: {error}"
        ) from error
    if not isinstance(loss, Tensor) or loss.shape != (count(y),):
        raise UsageError(
            f"the loss of the task {type(task).__name__} must be one number for each sample, ({count(y)},),"
            f" got {_described(loss)}"
        )


def _generators_kept(members: Mapping[str, nn.Module]) -> Any:
    devices = {
        p.device for member in members.values() for p in member.parameters() if p.device.type == "cuda"
    }
    return seeded(0, next(iter(sorted(devices, key=str)), torch.device("cpu")))


def _shapes(x: Tree) -> Any:
    return tree_map(lambda leaf: tuple(leaf.shape) if isinstance(leaf, Tensor) else leaf, x)


def _described(output: Tree) -> str:
    return f"shape {tuple(output.shape)}" if isinstance(output, Tensor) else f"a {type(output).__name__}"


def _cure(member: nn.Module, x: Tree) -> str:
    """What to do where numbers of another type are the likely reason."""
    own = next((p.dtype for p in member.parameters()), None)
    given = {leaf.dtype for leaf in tree_leaves(x) if isinstance(leaf, Tensor)}
    if own is None or len(given) != 1 or own in given:
        return ""
    way = "give x.float()" if own == torch.float32 else "use member.float()"
    return f" (inputs are {given.pop()}, its parameters {own}: {way})"

"""Where trees of tensors lie, and calling a member where it lies."""

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map

from concord.tasks.task import Tree


def forward(member: nn.Module, x: Tree, precision: torch.dtype) -> Tree:
    """The output of a member for x, computed where the member lies in that precision, given where x lies.

    The member gets a copy: one that works in place changes x for nobody else.
    """
    home, here = home_of(member, x), device_of(x)
    arguments = copied(x, home)
    with computing(home, precision):
        output = member(*arguments) if isinstance(arguments, tuple) else member(arguments)
    return moved(output, here)


def computing(device: torch.device, precision: torch.dtype) -> AbstractContextManager[object]:
    """Autocast to that precision; float32 leaves everything as it is."""
    return nullcontext() if precision == torch.float32 else torch.autocast(device.type, precision)


def home_of(member: nn.Module, x: Tree) -> torch.device:
    """Where a member lies: with its first parameter, or with x if it has none."""
    return next((p.device for p in member.parameters()), device_of(x))


def moved(x: Tree, device: torch.device) -> Tree:
    """The tensors of a tree on that device."""
    return x.to(device) if isinstance(x, Tensor) else tree_map(lambda leaf: _moved(leaf, device), x)


def copied(x: Tree, device: torch.device) -> Tree:
    """``moved``, but never the tensors of x themselves."""
    return tree_map(lambda leaf: leaf.to(device, copy=True) if isinstance(leaf, Tensor) else leaf, x)


def _moved(leaf: Any, device: torch.device) -> Any:
    return leaf.to(device) if isinstance(leaf, Tensor) else leaf


def device_of(x: Tree) -> torch.device:
    """Where a tree lies: its first tensor decides for all; the CPU without one."""
    return next((leaf.device for leaf in tree_leaves(x) if isinstance(leaf, Tensor)), torch.device("cpu"))

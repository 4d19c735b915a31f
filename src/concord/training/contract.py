"""What the modules of a member may ask of its training, by name, so that no room has to know theirs.

  after_update()   a method, called after every update of the member, under no_grad: it may change parameters
                   in place, as binary layers do, which clip their latent weights
  undecayed        names of the module's own parameters that weight decay leaves alone, a tuple of strings

Both are looked up on the class of each module of a member. One more is looked up on the class of the member:

  inner_outputs(output)   a method of an ensemble in one network: the outputs of its inner members, made of
                          what it gives in training mode. Each has a loss of its own, of which the member's is
                          the mean; members are compared by what the inner ones predict together
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from concord.errors import UsageError
from concord.tasks.task import Task, Tree
from concord.training.foreign import blamed


@torch.no_grad()
def after_update(name: str, member: nn.Module, index: int) -> None:
    """Call the ``after_update`` of each module of a member that learns; UsageError for what one raises."""
    asking = [module for module in member.modules() if hasattr(type(module), "after_update")]
    if not asking or not any(parameter.requires_grad for parameter in member.parameters()):
        return
    with blamed(name, member, f"in after_update, at update {index}"):
        for module in asking:
            module.after_update()  # type: ignore[operator]


def undecayed(member: nn.Module) -> list[nn.Parameter]:
    """The parameters that modules of a member name as such.

    UsageError for names that are not a tuple of strings; one that a module does not have is ignored.
    """
    found = []
    for module in member.modules():
        names = getattr(type(module), "undecayed", ())
        if not isinstance(names, tuple) or not all(isinstance(name, str) for name in names):
            kind = type(module).__name__
            raise UsageError(f"undecayed of {kind} is a tuple of names of its parameters, got {names!r}")
        found += [p for name, p in module.named_parameters(recurse=False) if name in names]
    return found


def losses(member: nn.Module, task: Task[Any], output: Tree, target: Tree) -> Tensor:
    """The loss of each sample: of an ensemble in one network, the mean over its inner members.

    Shape: -> (B,)
    """
    inner = _inner(member, output)
    if inner is None:
        return task.loss(output, target)
    return torch.stack([task.loss(one, target) for one in inner]).mean(0)


def together(member: nn.Module, task: Task[Any], output: Tree) -> Tree:
    """What a member predicts: its output, or what its inner members predict together."""
    inner = _inner(member, output)
    return output if inner is None else task.combine(inner)


def _inner(member: nn.Module, output: Tree) -> Sequence[Tree] | None:
    """Outputs of inner members in training mode; None where there are none."""
    if not member.training or not hasattr(type(member), "inner_outputs"):
        return None
    inner: Sequence[Tree] = member.inner_outputs(output)  # type: ignore[operator]
    return inner

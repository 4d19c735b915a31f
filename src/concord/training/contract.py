"""What the modules of a member may ask of its training, by name, so that no room has to know theirs.

  after_update()   a method, called after every update of the member, under no_grad: it may change parameters
                   in place, as binary layers do, which clip their latent weights
  undecayed        names of the module's own parameters that weight decay leaves alone, a tuple of strings

Both are looked up on the class of each module of a member.
"""

import torch
from torch import nn

from concord.errors import UsageError
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

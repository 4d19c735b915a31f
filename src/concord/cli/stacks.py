"""Which members can be computed in one pass: those of one network, on one device, in one precision."""

from collections.abc import Mapping, Sequence

import torch
from torch import nn

from concord.cli.interface import Interface
from concord.errors import UsageError
from concord.training import stacked
from concord.training.agreement import home_of
from concord.training.config import Config


def stacks_of(
    config: Config, members: Mapping[str, nn.Module], precision: Sequence[torch.dtype], interface: Interface
) -> tuple[tuple[int, ...], ...]:
    """Groups of two or more learners of one network, by index; none unless ``train.stacked``.

    Raises UsageError if there is no such group, or if a group cannot go in one pass.
    """
    if not config.train.stacked:
        return ()
    x = torch.zeros(2, *interface.shape, device=config.train.device)
    groups: dict[object, list[int]] = {}
    for i, member in enumerate(config.members):
        if member.teacher is None and not member.retired:
            where = home_of(members[member.name], x)
            groups.setdefault((member.network, where, precision[i]), []).append(i)
    found = tuple(tuple(group) for group in groups.values() if len(group) > 1)
    if not found:
        listed = ", ".join(f"{m.name} is {m.network}" for m in config.members)
        raise UsageError(f"train.stacked needs two members of one network on one device that learn: {listed}")
    for group in found:
        _try([config.members[i].name for i in group], members, x)
    return found


def _try(names: Sequence[str], members: Mapping[str, nn.Module], x: torch.Tensor) -> None:
    """A pass over two samples in training mode, without a trace; UsageError if it fails."""
    chosen = [members[name].train() for name in names]
    before = [{name: b.clone() for name, b in member.named_buffers()} for member in chosen]
    try:
        with torch.no_grad():
            stacked.outputs(chosen, [(x.to(home_of(chosen[0], x)),)])
    except Exception as error:  # a foreign network may raise anything
        why = str(error).splitlines()[0] if str(error) else type(error).__name__
        if "random" in why:
            why = "they draw random numbers, as dropout does, each by itself"
        listed = ", ".join(names)
        raise UsageError(
            f"{listed} cannot be computed in one pass: {why}; leave out train.stacked"
        ) from error
    finally:
        for member, buffers in zip(chosen, before, strict=True):
            for name, buffer in member.named_buffers():
                buffer.data.copy_(buffers[name])

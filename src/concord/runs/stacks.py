"""Which members can be computed in one pass: those of one network, on one device, whose outputs it keeps."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from concord.errors import UsageError
from concord.runs.config import Config
from concord.runs.interface import Interface
from concord.training import stacked
from concord.training.agreement import buffers_kept
from concord.training.devices import home_of
from concord.training.seeding import drawn

Said = tuple[list[Tensor], list[dict[str, Tensor]]]  # outputs and buffers of each member


def stacks_of(
    config: Config, members: Mapping[str, nn.Module], interface: Interface
) -> tuple[tuple[str, ...], ...]:
    """Groups of two or more learners of one network, by name; none unless ``train.stacked``.

    Raises UsageError if there is no such group (and no retired member that would have made one), or if one
    pass does not give a group what a pass for each gives.
    """
    if not config.train.stacked:
        return ()
    x = torch.rand(2, *interface.shape, generator=torch.Generator().manual_seed(0))
    groups: dict[object, list[str]] = {}
    for member in config.members:
        if member.teacher is None and not member.retired:
            groups.setdefault((member.network, home_of(members[member.name], x)), []).append(member.name)
    found = tuple(tuple(group) for group in groups.values() if len(group) > 1)
    if not found and not any(member.retired for member in config.members):
        listed = ", ".join(f"{m.name} is {m.network}" for m in config.members)
        raise UsageError(f"train.stacked needs two members of one network on one device that learn: {listed}")
    for group in found:
        _compare(group, members, x)
    return found


def _compare(names: Sequence[str], members: Mapping[str, nn.Module], x: Tensor) -> None:
    """UsageError unless one pass in training mode gives what a pass for each gives, buffers included."""
    chosen = [members[name] for name in names]
    x = x.to(home_of(chosen[0], x))
    before = drawn()
    try:
        with torch.no_grad(), torch.random.fork_rng([]):
            one, each = _in_one_pass(chosen, x), _in_a_pass_each(chosen, x)
        why = "" if _alike(one, each) else "what it computes is not what each gives by itself"
    except Exception as error:  # a foreign network may raise anything
        why = f"torch.func.vmap ends in {type(error).__name__}: {str(error)[:200]}"
    if "random" in why or drawn() != before:
        why = "they draw random numbers, as dropout does, each by itself"
    if why:
        raise UsageError(f"{', '.join(names)} cannot be computed in one pass: {why}; leave out train.stacked")


def _in_one_pass(members: Sequence[nn.Module], x: Tensor) -> Said:
    with buffers_kept(members):
        return list(stacked.outputs(members, [(x.clone(),)])), [dict(m.named_buffers()) for m in members]


def _in_a_pass_each(members: Sequence[nn.Module], x: Tensor) -> Said:
    with buffers_kept(members):
        return [member(x.clone()) for member in members], [dict(m.named_buffers()) for m in members]


def _alike(one: Said, each: Said) -> bool:
    try:
        torch.testing.assert_close(one, each, rtol=1e-3, atol=1e-4)
    except AssertionError:
        return False
    return True

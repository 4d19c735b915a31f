"""Members built by code of the user's own: whether they can be trained, saved and built again alike."""

from collections.abc import Collection, Mapping
from copy import deepcopy

import torch
from torch import Tensor, nn

from concord.errors import ConcordError, UsageError
from concord.runs.assemble import build_members
from concord.runs.config import Config, Member
from concord.runs.interface import Interface
from concord.tasks.classify import Classify
from concord.training.evaluate import output_of
from concord.training.observer import Observer
from concord.training.seeding import seeded
from concord.training.state import state_of, unpack_members
from concord.training.trial import put_back, try_training


def try_own_code(
    config: Config,
    members: Mapping[str, nn.Module],
    interface: Interface,
    allow_code: Collection[str],
    observer: Observer,
) -> None:
    """Refuse, before the first update, a member that cannot be trained, or not be built again as it is.

    UsageError that names the member. A start that the seed does not decide is a notice.
    """
    x, y = _samples(config, interface)
    task = Classify(len(interface.classes))
    for member in config.members:
        if ":" in member.network:
            try_training(member.name, members[member.name], x, y, task)
            twin = build_members(config.model_copy(update={"members": [member]}), interface, allow_code)
            with put_back(member.name, members[member.name]):  # which a copy may still reach
                _compare(member, members[member.name], twin[member.name], x, observer)


def _samples(config: Config, interface: Interface) -> tuple[Tensor, Tensor]:
    """Two pictures of noise and their labels."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2, *interface.shape, generator=generator).to(config.train.device)
    return x.contiguous(memory_format=torch.channels_last), torch.tensor([0, 1], device=x.device)


def _compare(member: Member, built: nn.Module, again: nn.Module, x: Tensor, observer: Observer) -> None:
    """What the same factory gives with the same seed, and with the same weights."""
    own, other = state_of(built), state_of(again)
    same = own.keys() == other.keys() and all(_equal(own[key], other[key]) for key in own)
    try:
        unpack_members({member.name: again}, {member.name: own})
        one, two = _answer(built, x), _answer(again, x)
        if _alike(one, two):  # a head of zeros would hide what is before it
            one, two = _answer(_shaken(built), x), _answer(_shaken(again), x)
    except ConcordError as error:
        raise UsageError(
            f"member {member.name!r}: {member.network} cannot be built again from its weights: {error}"
        ) from error
    if not _alike(one, two):
        raise UsageError(
            f"member {member.name!r}: {member.network} was built twice and given the same weights, and the"
            " two answer differently: what it draws while it is built is in no state dict, so that no"
            " evaluation could repeat it. Register it as a buffer, or draw it from torch, numpy.random or"
            " random, which are seeded"
        )
    if not same:
        observer.notice(
            f"member {member.name!r}: {member.network} starts with other weights each time that it is built:"
            " it draws from something else than torch, numpy.random or random, so that train.seed does not"
            " repeat this training"
        )


def _shaken(network: nn.Module) -> nn.Module:
    """A copy with noise on its parameters, so that none is zero; itself if it cannot be copied."""
    try:
        copy = deepcopy(network)
    except Exception:  # what a module holds may be anything
        return network
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in (p for p in copy.parameters() if p.is_floating_point()):
            drawn = torch.randn(parameter.shape, generator=generator)
            parameter.add_(0.1 * drawn.to(parameter))
    return copy


def _answer(network: nn.Module, x: Tensor) -> Tensor:
    with seeded(0, x.device):
        found: Tensor = output_of(network, x)
    return found


def _alike(one: Tensor, other: Tensor) -> bool:
    return torch.allclose(one, other, rtol=1e-3, atol=1e-4, equal_nan=True)


def _equal(one: Tensor, other: Tensor) -> bool:
    return one.shape == other.shape and torch.equal(one.nan_to_num(), other.nan_to_num())

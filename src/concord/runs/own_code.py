"""Members built by code of the user's own: whether they can be trained, saved and built again alike."""

from collections.abc import Collection, Mapping

import torch
from torch import Tensor, nn

from concord.cost.count import count
from concord.errors import ConcordError, UsageError
from concord.runs.assemble import build_members
from concord.runs.config import Config, Member
from concord.runs.export_trial import why_not
from concord.runs.interface import Interface
from concord.runs.own_chance import by_chance
from concord.runs.precision import precisions
from concord.tasks.classify import Classify
from concord.training.evaluate import output_of
from concord.training.observer import Observer
from concord.training.seeding import seeded
from concord.training.state import state_of, unpack_members
from concord.training.trial import alike, put_back, trained, try_training


def try_own_code(
    config: Config,
    members: Mapping[str, nn.Module],
    interface: Interface,
    allow_code: Collection[str],
    observer: Observer,
) -> None:
    """Refuse, before the first update, a member that cannot be trained, or not be built again as it is.

    UsageError that names the member. Chance that the seed does not decide, and a network that cannot be
    exported, are notices.
    """
    x, y = _samples(config, interface)
    task = Classify(len(interface.classes))
    for member in config.members:
        if ":" in member.network:
            name, own = member.name, members[member.name]
            with put_back(name, own):
                precision = precisions(config, {name: own}, interface.shape)[name]
            try_training(name, own, x, y, task, dense=True, precision=precision)
            twin = build_members(config.model_copy(update={"members": [member]}), interface, allow_code)[name]
            with put_back(name, own):  # which a copy may still reach
                _try_count(name, own, interface)
                chance = by_chance(name, own, x, y, task)
                observed = [] if chance else _compared(member, own, twin, x, y, task)
            for notice in (*chance, *observed, *why_not(name, twin, interface)):
                observer.notice(notice)


def _samples(config: Config, interface: Interface) -> tuple[Tensor, Tensor]:
    """Two pictures of noise and their labels."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2, *interface.shape, generator=generator).to(config.train.device)
    return x.contiguous(memory_format=torch.channels_last), torch.tensor([0, 1], device=x.device)


def _try_count(name: str, member: nn.Module, interface: Interface) -> None:
    """What the result needs is counted before the training, which would be lost otherwise."""
    try:
        count(member, interface.shape)
    except ConcordError as error:
        raise UsageError(f"member {name!r}: its cost cannot be counted: {error}") from error


def _compared(
    member: Member, built: nn.Module, again: nn.Module, x: Tensor, y: Tensor, task: Classify
) -> list[str]:
    """What is to be said of two that one factory gives with one seed; UsageError if they answer differently
    with the same weights."""
    name, own, other = member.name, state_of(built), state_of(again)
    same = own.keys() == other.keys() and all(_equal(own[key], other[key]) for key in own)
    try:
        unpack_members({name: again}, {name: own})
        one, two = _answer(name, built, x), _answer(name, again, x)
        if alike([one], [two]):  # a head of zeros would hide what is before it
            one, two = _answer(name, built, x, shaken=True), _answer(name, again, x, shaken=True)
    except ConcordError as error:
        raise UsageError(
            f"member {name!r}: {member.network} cannot be built again from its weights: {error}"
        ) from error
    if not alike([one], [two]):
        raise UsageError(
            f"member {name!r}: {member.network} was built twice and given the same weights, and the"
            " two answer differently: what it draws while it is built is in no state dict, so that no"
            " evaluation could repeat it. Register it as a buffer, or draw it from torch, numpy.random or"
            " random, which are seeded"
        )
    if not same:
        return [
            f"member {name!r}: {member.network} starts with other weights each time that it is built:"
            " it draws from something else than torch, numpy.random or random, so that train.seed does not"
            " repeat this training"
        ]
    if not alike(trained(name, built, x, y, task), trained(name, again, x, y, task)):
        return [
            f"member {name!r}: {member.network} was built twice from the same seed, and the two differ in a"
            " training pass: it holds a generator without a seed, or another value of chance. train.seed does"
            " not repeat this training"
        ]
    return []


def _shake(network: nn.Module) -> None:
    """Noise on its parameters, so that none is zero."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in (p for p in network.parameters() if p.is_floating_point()):
            drawn = torch.randn(parameter.shape, generator=generator)
            parameter.add_(0.1 * drawn.to(parameter))


def _answer(name: str, network: nn.Module, x: Tensor, *, shaken: bool = False) -> Tensor:
    with put_back(name, network), seeded(0, x.device):
        if shaken:
            _shake(network)
        found: Tensor = output_of(network, x)
    return found


def _equal(one: Tensor, other: Tensor) -> bool:
    """Bit for bit, whatever the type."""
    if (one.shape, one.dtype) != (other.shape, other.dtype):
        return False
    flat = [tensor.contiguous().flatten().view(torch.uint8) for tensor in (one, other)]
    return torch.equal(*flat)

"""Exponential moving averages of the weights of members (EMA).

    a_0 = w_0        a_t+1 = d_t a_t + (1 - d_t) w_t+1        d_t = min(decay, (1 + t) / (10 + t))

w_t are the weights after t updates, which training continues with; a_t is what is evaluated, saved as the
member, predicted with and exported.

Source: B. T. Polyak, A. B. Juditsky, "Acceleration of stochastic approximation by averaging", 1992, for
averages of weights; d_t, which forgets the start sooner, is that of TensorFlow's ExponentialMovingAverage.

As in timm, whatever is a floating number of the state dict is averaged, running statistics of batch
normalisation too, and counts of batches are those of the last update. Departure from timm: d_t (there
1 - (1 + t)^-2/3, by choice).
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from concord.errors import UsageError
from concord.training.foreign import blamed
from concord.training.places import EXTRA
from concord.training.state import state_of, unpack_members

Tensors = Mapping[str, Tensor]


def decay_of(decay: float, index: int) -> float:
    """min(decay, (1 + t) / (10 + t)), the part of the average that update t (from 0) leaves in place."""
    return min(decay, (1 + index) / (10 + index))


@torch.no_grad()
def blended(average: Tensors, current: Tensors, decay: float) -> dict[str, Tensor]:
    """decay average + (1 - decay) current, of every floating tensor.

    Anything else is a copy of what is current: whole numbers, extra state, and what the average does not have
    with the same size.
    """
    return {name: _blend(name, average.get(name), value, decay) for name, value in current.items()}


def _blend(name: str, average: Tensor | None, current: Tensor, decay: float) -> Tensor:
    number = current.is_floating_point() or current.is_complex()
    if average is None or not number or average.shape != current.shape or name.rpartition(".")[2] == EXTRA:
        return current.detach().clone()
    return average.lerp(current.detach(), 1 - decay)


class Averages:
    """The average of each member that learns; without a decay of more than 0 there is nothing to do."""

    def __init__(self, members: Mapping[str, nn.Module], decay: float) -> None:
        self.members, self.decay = members, decay
        self.learners = [name for name, member in members.items() if _learns(member)]
        self.own: dict[str, dict[str, Tensor]] = {}

    def start(self) -> None:
        """Begin with the weights that the members have."""
        if not self.decay:
            return
        self.own = {name: blended({}, state_of(self.members[name]), 0.0) for name in self.learners}

    def update(self, index: int) -> None:
        """Take in the weights after update ``index``; a member that is set free meanwhile begins here."""
        if not self.decay:
            return
        decay = decay_of(self.decay, index)
        for name, member in self.members.items():
            if name not in self.own and not _learns(member):
                continue
            with blamed(name, member, f"when its weights were averaged, after update {index}"):
                self.own[name] = blended(self.own.get(name, {}), state_of(member), decay)

    @contextmanager
    def shown(self) -> Iterator[dict[str, Tensors]]:
        """The members are their averages meanwhile; gives the weights that they have otherwise."""
        averaged = {name: self.members[name] for name in self.own}
        raw: dict[str, Tensors] = {
            name: blended({}, state_of(member), 0.0) for name, member in averaged.items()
        }
        try:
            self.settle()
            yield raw
        finally:
            unpack_members(averaged, raw)

    def settle(self) -> None:
        """The members become their averages, as at the end of a training."""
        unpack_members({name: self.members[name] for name in self.own}, self.own)


def refuse_narrow(members: Mapping[str, nn.Module]) -> None:
    """UsageError for a member of less than float32: small steps would be rounded away in its average."""
    for name, member in members.items():
        for path, parameter in member.named_parameters():
            if parameter.requires_grad and parameter.is_floating_point() and parameter.itemsize < 4:
                kind = str(parameter.dtype).removeprefix("torch.")
                raise UsageError(
                    f"member {name!r}: {path} is {kind}, in which an average of weights (ema) does not move;"
                    " use member.float(), and precision for the type that it computes in"
                )


def _learns(member: nn.Module) -> bool:
    return any(parameter.requires_grad for parameter in member.parameters())

"""Signs that a member no longer learns, beside a loss that is not a number."""

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn

from concord.errors import DivergedError

CURE = "checkpoints made before are intact. A smaller learning rate or gradient clipping usually helps"
MOMENTS_CURE = (
    "checkpoints made before are intact. A smaller consensus weight, a smaller learning rate or gradient"
    " clipping usually helps"
)
ROUNDING = 2**-24  # of float32
MOST = 2**20  # values of one parameter that are remembered
LEARNED = 1e-3  # a member of a smaller mean loss may have nothing left to learn
ENDED = 1e-3  # times the first rate: below, updates may round to nothing because a schedule ends


def refuse_not_finite(members: Mapping[str, nn.Module], optimizer: torch.optim.Optimizer, done: int) -> None:
    """DivergedError that names the members whose parameters, or moments in the optimiser, are not finite.

    An infinite second moment makes every update 0: the loss stays finite, and the member stops learning.
    """
    bad = [name for name, member in members.items() if not _finite(member.parameters())]
    if bad:
        raise DivergedError(
            f"parameters of {', '.join(bad)} are not finite after {done} updates; {CURE}", bad
        )
    bad = [name for name, member in members.items() if not _finite(_moments(optimizer, member))]
    if bad:
        raise DivergedError(
            f"the optimiser's moments of {', '.join(bad)} are not finite after {done} updates, so that these"
            f" parameters no longer change: the gradients were too large; {MOMENTS_CURE}",
            bad,
        )


class Unmoved:
    """Finds members that have not moved since this was made, though they were to learn.

    Not moved is ||w - w_0|| <= 2^-24 ||w_0||: all updates together are within the rounding of the weights.
    Of a parameter of more than a million values, evenly spaced ones are looked at.
    """

    def __init__(self, members: Mapping[str, nn.Module], optimizer: torch.optim.Optimizer) -> None:
        self.members, self.optimizer = members, optimizer
        self.before = {name: _sample(member) for name, member in members.items()}

    def refuse(self, losses: Mapping[str, float], rate: float, first: float, done: int) -> None:
        """DivergedError that names them, after an epoch in which these were their mean losses.

        ``rate`` is that of the last update and ``first`` that of the first epoch: where a schedule has come
        near 0, or a member has learned all there is, no update is expected to change anything.
        """
        if rate == 0 or rate < ENDED * first:
            return
        bad = [name for name in self.members if abs(losses[name]) > LEARNED and self._stands(name)]
        if bad:
            raise DivergedError(
                f"{', '.join(bad)} did not move in the epoch that ended after {done} updates: all updates"
                f" together are within the rounding of the parameters (learning rate {rate:g}). A larger"
                " learning rate, a smaller consensus weight or another start of these members may help",
                bad,
            )

    def _stands(self, name: str) -> bool:
        member, before = self.members[name], self.before[name]
        now = _sample(member)  # what learns may change while it trains
        common = before.keys() & now.keys()
        moved, old = [now[key] - before[key] for key in common], [before[key] for key in common]
        return bool(old) and _length(moved) <= ROUNDING * _length(old) and _pulled(self.optimizer, member)


def _learning(member: nn.Module) -> list[nn.Parameter]:
    return [p for p in member.parameters() if p.requires_grad]


def _moments(optimizer: torch.optim.Optimizer, member: nn.Module) -> list[Tensor]:
    states = [optimizer.state[p] for p in member.parameters() if p in optimizer.state]
    return [value for state in states for value in state.values() if isinstance(value, Tensor)]


def _finite(tensors: Iterable[Tensor]) -> bool:
    return all(bool(tensor.isfinite().all()) for tensor in tensors)


def _sample(member: nn.Module) -> dict[str, Tensor]:
    """Values of each parameter that learns."""
    with torch.no_grad():
        return {
            name: p.reshape(-1)[:: -(-p.numel() // MOST) or 1].clone()
            for name, p in member.named_parameters()
            if p.requires_grad
        }


def _length(tensors: Iterable[Tensor]) -> float:
    return sum(float(one.norm(dtype=torch.float64)) ** 2 for one in tensors) ** 0.5


def _pulled(optimizer: torch.optim.Optimizer, member: nn.Module) -> bool:
    """Whether a gradient or a moment of the member is other than 0."""
    gradients = [p.grad for p in _learning(member) if p.grad is not None]
    moments = [value for value in _moments(optimizer, member) if value.ndim]  # the count of steps has none
    return any(bool(value.any()) for value in (*gradients, *moments))

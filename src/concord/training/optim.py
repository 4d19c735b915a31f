"""Optimiser and learning rate.

Source: J. Noel, 2017, section 5.2: Adam at 0.5^10, halved at 50 %, 75 % and 90 % of the training, weight
decay 1e-4 (added to the gradient, as an L2 term in the loss is; ``adamw`` decouples it instead).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import cos, pi
from typing import Any, Literal

import torch
from torch import nn

from concord.errors import UsageError, suggestion
from concord.training.contract import undecayed
from concord.training.dense import in_order

Rate = Callable[[int], float]
MakeOptimizer = Callable[[Mapping[str, nn.Module]], torch.optim.Optimizer]
Decay = Literal["kernels", "all"]


def groups_of(members: Mapping[str, nn.Module], weight_decay: float, decay: Decay) -> list[dict[str, Any]]:
    """Two groups of parameters per member: what decays and what does not.

    ``kernels`` decays parameters of two or more dimensions: weights of convolutions and dense layers, not
    biases and normalisation, and not what a module names as ``undecayed``, see ``contract``; ``all`` decays
    these too. Frozen ones are among them: they have no gradient, are left alone, and learn from the update on
    at which a member sets them free.
    """
    groups: list[dict[str, Any]] = []
    for name, member in members.items():
        able = [p for p in member.parameters() if p.requires_grad or p.is_floating_point()]
        spared = {id(p) for p in undecayed(member)}
        kernels = [p for p in able if p.ndim >= 2 and id(p) not in spared]
        others = [p for p in able if p.ndim < 2 or id(p) in spared]
        rest = weight_decay if decay == "all" else 0.0
        groups += [
            {"params": params, "weight_decay": own, "member": name}
            for params, own in ((kernels, weight_decay), (others, rest))
            if params
        ]
    return groups


@dataclass(frozen=True)
class Sgd:
    """Stochastic gradient descent; call it with the members.

    Updates are element by element, so one optimiser for all members equals one for each bit for bit.
    """

    lr: float = 0.1
    momentum: float = 0.9
    nesterov: bool = False
    weight_decay: float = 1e-4
    decay: Decay = "kernels"

    def __call__(self, members: Mapping[str, nn.Module]) -> torch.optim.Optimizer:
        groups = groups_of(members, self.weight_decay, self.decay)
        together = fused(members)
        made = torch.optim.SGD(
            groups, lr=self.lr, momentum=self.momentum, nesterov=self.nesterov, fused=together
        )
        made.register_step_pre_hook(_start_late)
        return made


def fused(members: Mapping[str, nn.Module]) -> bool:
    """Whether torch's fused steps can be used: they take a parameter for one piece of memory, and would write
    beside one that is a slice of a larger tensor."""
    return all(in_order(p) for member in members.values() for p in member.parameters())


def _start_late(optimizer: torch.optim.Optimizer, *_: Any) -> None:
    """Momentum of 0 for parameters with their first gradient after others had theirs.

    That is what it is for each by itself; the fused step of torch fails on groups of both kinds.
    """
    for group in optimizer.param_groups:
        learning = [p for p in group["params"] if p.grad is not None]
        new = [p for p in learning if optimizer.state[p].get("momentum_buffer") is None]
        if group["momentum"] and 0 < len(new) < len(learning):
            for parameter in new:
                optimizer.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)


@dataclass(frozen=True)
class Adam:
    """Adam, or AdamW where the weight decay is decoupled; call it with the members."""

    lr: float = 0.5**10
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    weight_decay: float = 1e-4
    decay: Decay = "kernels"
    decoupled: bool = False

    def __call__(self, members: Mapping[str, nn.Module]) -> torch.optim.Optimizer:
        kind = torch.optim.AdamW if self.decoupled else torch.optim.Adam
        groups = groups_of(members, self.weight_decay, self.decay)
        return kind(groups, lr=self.lr, betas=self.betas, eps=self.eps, fused=fused(members))


def learning_rate(
    lr: float, schedule: str, *, epochs: int, steps: int, warmup: float = 0.0, cycles: int = 1
) -> Rate:
    """The rate of update ``index`` (from 0) of N = epochs x steps; p = index / N.

    With several cycles p is the part of the cycle in progress, (index cycles / N) mod 1: the schedule begins
    again with each.

    halving: lr 2^-n, n = how many of 50 %, 75 %, 90 % of the updates are over. halving_epochs: the same by
    whole epochs, as the author's code has it. cosine: lr (1 + cos(pi p)) / 2. A warm-up multiplies by
    (index + 1) / (warmup N) while that is below 1, once in the whole training. UsageError for an unknown
    schedule.
    """
    if schedule not in SCHEDULES:
        known = ", ".join(SCHEDULES)
        raise UsageError(f"no schedule {schedule!r}{suggestion(schedule, SCHEDULES)}; there are: {known}")
    updates, factor = epochs * steps, SCHEDULES[schedule]

    def rate(index: int) -> float:
        warm = min(1.0, (index + 1) / (warmup * updates)) if warmup else 1.0
        return (
            lr * warm * factor(index * cycles % updates / updates, index // steps * cycles % epochs / epochs)
        )

    return rate


SCHEDULES: dict[str, Callable[[float, float], float]] = {
    # of 30 epochs, those numbered 15, 23 and 28 from 0 begin at a new rate, as in the logs of Noel 2017
    "halving_epochs": lambda p, epoch: 0.5 ** ((epoch >= 0.5) + (epoch >= 0.75) + (epoch > 0.9)),
    "halving": lambda p, epoch: 0.5 ** ((p >= 0.5) + (p >= 0.75) + (p >= 0.9)),
    "cosine": lambda p, epoch: (1 + cos(pi * p)) / 2,
    "constant": lambda p, epoch: 1.0,
}


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """This rate for every group, times the group's ``factor`` if it has one; moments stay as they are."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group.get("factor", 1.0)

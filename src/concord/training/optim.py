"""Optimiser and learning rate.

Source: J. Noel, 2017, section 5.2: Adam at 0.5^10, halved at 50 %, 75 % and 90 % of the training, weight
decay 1e-4 (added to the gradient, as an L2 term in the loss is; ``adamw`` decouples it instead).
"""

from collections.abc import Callable, Mapping
from math import cos, pi
from typing import Any

import torch
from torch import nn

from concord.runs.config import Sgd, Train

Rate = Callable[[int], float]


def make_optimizer(members: Mapping[str, nn.Module], train: Train) -> torch.optim.Optimizer:
    """One optimiser with two groups per member: what decays and what does not.

    Updates are element by element, so one optimiser for all equals one for each bit for bit. ``kernels``
    decays parameters of two or more dimensions: weights of convolutions and dense layers, not biases and
    normalisation.
    """
    chosen = train.optimizer
    groups: list[dict[str, Any]] = []
    for name, member in members.items():
        kernels = [p for p in member.parameters() if p.requires_grad and p.ndim >= 2]
        others = [p for p in member.parameters() if p.requires_grad and p.ndim < 2]
        rest = chosen.weight_decay if chosen.decay == "all" else 0.0
        groups += [
            {"params": params, "weight_decay": decay, "member": name}
            for params, decay in ((kernels, chosen.weight_decay), (others, rest))
            if params
        ]
    if isinstance(chosen, Sgd):
        return torch.optim.SGD(
            groups, lr=chosen.lr, momentum=chosen.momentum, nesterov=chosen.nesterov, fused=True
        )
    kind = torch.optim.Adam if chosen.kind == "adam" else torch.optim.AdamW
    return kind(groups, lr=chosen.lr, betas=chosen.betas, eps=chosen.eps, fused=True)


def learning_rate(train: Train, steps_per_epoch: int) -> Rate:
    """The rate of update ``index`` (from 0) of N; p = index / N.

    halving: lr 2^-n, n = how many of 50 %, 75 %, 90 % of the updates are over. halving_epochs: the same by
    whole epochs, as the author's code has it. cosine: lr (1 + cos(pi p)) / 2. A warm-up multiplies by (p +
    1/N) / warmup while that is below 1.
    """
    updates = train.epochs * steps_per_epoch

    def rate(index: int) -> float:
        p = index / updates
        warm = min(1.0, (index + 1) / (train.warmup * updates)) if train.warmup else 1.0
        factor = SCHEDULES[train.schedule](p, index // steps_per_epoch / train.epochs)
        return train.optimizer.lr * warm * factor

    return rate


SCHEDULES: dict[str, Callable[[float, float], float]] = {
    # of 30 epochs, those numbered 15, 23 and 28 from 0 begin at a new rate, as in the logs of Noel 2017
    "halving_epochs": lambda p, epoch: 0.5 ** ((epoch >= 0.5) + (epoch >= 0.75) + (epoch > 0.9)),
    "halving": lambda p, epoch: 0.5 ** ((p >= 0.5) + (p >= 0.75) + (p >= 0.9)),
    "cosine": lambda p, epoch: (1 + cos(pi * p)) / 2,
    "constant": lambda p, epoch: 1.0,
}


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """The same rate for every group; moments stay as they are."""
    for group in optimizer.param_groups:
        group["lr"] = rate

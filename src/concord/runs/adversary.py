"""The adversary of a training: from the [adversarial] settings to images that are harder to tell."""

from collections.abc import Callable

import torch
from torch import Tensor

from concord.attack.fgsm import fgsm
from concord.attack.gradient import attacking
from concord.attack.norms import NORMS
from concord.attack.pgd import pgd
from concord.runs.config import Config, Pgd
from concord.runs.interface import Interface
from concord.runs.pixels import columns
from concord.tasks.task import Tree
from concord.training.cohort import Adversarial
from concord.training.seeding import mix, purpose_seed

REACH = 2.5  # times eps that the steps go in all: to the border from anywhere inside, and along it


def step_size_of(eps: float, steps: int, given: float | None) -> float:
    """The length of a step that was asked for, or one that can reach every place of the ball."""
    return REACH * eps / steps if given is None else given


def adversarial_of(config: Config, interface: Interface) -> Adversarial | None:
    """What the settings describe; None without them.

    A batch holds normalised images, so the range of pixels and the ball are stretched as normalising does
    it. The random start of a member is a pure function of (seed, its name, update).
    """
    settings = config.adversarial
    if settings is None:
        return None
    seeds = [purpose_seed(config.train.seed, "adversary", member.name) for member in config.members]

    def craft(i: int, loss: Callable[[Tree], Tensor], x: Tree, index: int) -> Tree:
        assert isinstance(x, Tensor)  # the members of a run take one batch of images
        mean, std = columns(interface.normalise, x)
        low, high = -mean / std, (1 - mean) / std
        with attacking(config.members[i].name):
            if not isinstance(settings, Pgd):
                return fgsm(loss, x, settings.eps / std, low=low, high=high)
            return pgd(
                loss,
                x,
                settings.eps / std,
                steps=settings.steps,
                step_size=step_size_of(settings.eps, settings.steps, settings.step_size) / std,
                norm=NORMS[settings.norm],
                generator=torch.Generator().manual_seed(mix(seeds[i], index)),
                low=low,
                high=high,
            )

    return Adversarial(craft, settings.share)

"""Changes from torchvision.transforms.v2, each drawn from (seed, epoch, sample).

Sources: C. Szegedy et al., "Going Deeper with Convolutions", CVPR 2015, section 6 (random resized crop);
A. Krizhevsky, "Some Improvements on Deep Convolutional Neural Network Based Image Classification", 2013
(colour); Z. Zhong et al., "Random Erasing Data Augmentation", AAAI 2020; S. G. Müller, F. Hutter,
"TrivialAugment", ICCV 2021; E. D. Cubuk et al., "RandAugment", NeurIPS 2020.

torchvision draws from the generator of the process. It is seeded for each sample and put back after the
batch, so that nothing else notices.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchvision.transforms import v2

from concord.data import draws
from concord.errors import UsageError

if TYPE_CHECKING:
    from concord.data.images.augment import Augment

Change = tuple[str, Callable[[Tensor], Tensor]]  # its name, which its draws depend on
OPERATIONS, MAGNITUDE, STRENGTHS = 2, 9, 31  # of RandAugment in torchvision


def check(augment: "Augment") -> None:
    """UsageError for what describes no change."""
    for name, most in (("resized_crop", 1), ("erasing", 1), ("hue", 0.5)):
        value = getattr(augment, name)
        if not 0 <= value <= most:
            raise UsageError(f"augment.{name} must be 0 to {most}, got {value}")
    for name in ("brightness", "contrast", "saturation"):
        if not 0 <= getattr(augment, name) < float("inf"):
            raise UsageError(f"augment.{name} must be 0 or more, got {getattr(augment, name)}")
    if augment.policy not in (None, "trivial", "rand"):
        raise UsageError(f"augment.policy must be 'trivial' or 'rand', got {augment.policy!r}")
    if augment.policy != "rand" and (augment.operations or augment.magnitude):
        raise UsageError("augment.operations and augment.magnitude need augment.policy = 'rand'")
    if augment.operations is not None and augment.operations < 1:
        raise UsageError(f"augment.operations must be 1 or more, got {augment.operations}")
    if augment.magnitude is not None and not 0 <= augment.magnitude < STRENGTHS:
        raise UsageError(f"augment.magnitude must be 0 to {STRENGTHS - 1}, got {augment.magnitude}")


@lru_cache(maxsize=32)
def before(augment: "Augment", size: tuple[int, int]) -> tuple[Change, ...]:
    """What comes before flip, shift and crop."""
    if not augment.resized_crop:
        return ()
    return (("resized_crop", v2.RandomResizedCrop(list(size), (augment.resized_crop, 1.0))),)


@lru_cache(maxsize=32)
def after(augment: "Augment") -> tuple[Change, ...]:
    """What comes after them."""
    changes: list[Change] = []
    if augment.policy == "trivial":
        changes.append(("trivial", v2.TrivialAugmentWide()))
    if augment.policy == "rand":
        strength = MAGNITUDE if augment.magnitude is None else augment.magnitude
        changes.append(("rand", v2.RandAugment(augment.operations or OPERATIONS, strength)))
    colours = (augment.brightness, augment.contrast, augment.saturation, augment.hue)
    if any(colours):
        changes.append(("colour", v2.ColorJitter(*colours)))
    if augment.erasing:
        changes.append(("erasing", v2.RandomErasing(augment.erasing)))
    return tuple(changes)


def applied(
    changes: tuple[Change, ...], pixels: Tensor, numbers: NDArray[np.int64], seed: int, epoch: int
) -> Tensor:
    """Every image changed by each, with its own draws. Shape: (B, C, H, W) uint8 -> the same, on the CPU"""
    if not changes:
        return pixels
    with own_draws() as begin:
        images = list(pixels.cpu())
        for name, change in changes:
            starts = draws.bits(numbers, name, seed, epoch)
            for i, start in enumerate(starts.tolist()):
                begin(start)
                images[i] = change(images[i])
    return torch.stack(images)


@contextmanager
def own_draws() -> Iterator[Callable[[int], object]]:
    """A function that starts the CPU generator of the process from a seed; it is put back afterwards."""
    generator = torch.default_generator
    state = generator.get_state()
    try:
        yield generator.manual_seed
    finally:
        generator.set_state(state)

"""Batches of a data set. Batch ``step`` of an epoch is a pure function of (seed, epoch, step).

Nothing is remembered between batches, so a run that goes on at step 300 sees what an uninterrupted one
would have seen, and where iteration starts never changes a batch.
"""

from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor

from concord.data import draws
from concord.data.dataset import Draw
from concord.data.images.augment import Augment
from concord.data.images.images import Images
from concord.data.normalise import Normalise
from concord.errors import UsageError

__all__ = ["Batch", "Normalise", "in_order", "indices", "order", "ranges", "shuffled", "steps_per_epoch"]

AT_ONCE = 500  # samples of a batch for evaluation
Batch = tuple[Tensor, Tensor]  # x (B, C, H, W) float32, y (B,) int64


def steps_per_epoch(n: int, batch_size: int) -> int:
    """ceil(n / batch_size), but a last batch of one sample joins the one before it.

    Batch normalisation has no statistics of a single value, and a lone sample would weigh as much as a batch.
    """
    if n < 1 or batch_size < 1:
        raise UsageError(f"expected n >= 1 and batch_size >= 1, got {n} and {batch_size}")
    lone = n % batch_size == 1 and n > batch_size > 1
    return -(-n // batch_size) - lone


def order(n: int, *, seed: int, epoch: int) -> Tensor:
    """A permutation of 0..n-1 that depends on (seed, epoch) only. Shape: (n,) int64"""
    return torch.from_numpy(draws.permutation(n, "order", seed, epoch))


def indices(
    n: int, *, batch_size: int, seed: int, epoch: int, start: int = 0, shuffle: bool = True
) -> list[Tensor]:
    """The numbers of the samples of batches ``start``, ``start`` + 1, ... of an epoch.

    With ``shuffle=False`` every epoch has the stored order, as the runs of Noel 2017 had. The last batch
    may be smaller, or larger by one. Raises UsageError for sizes that describe no epoch.
    """
    steps = steps_per_epoch(n, batch_size)
    if not 0 <= start <= steps:
        raise UsageError(f"start must be 0 to {steps} (steps per epoch), got {start}")
    chosen = order(n, seed=seed, epoch=epoch) if shuffle else torch.arange(n)
    last = (steps - 1) * batch_size
    return [*chosen[:last].split(batch_size), chosen[last:]][-steps:][start:]


def shuffled(
    images: Images,
    normalise: Normalise,
    *,
    batch_size: int,
    seed: int,
    epoch: int,
    start: int = 0,
    augment: Augment | None = None,
    augment_seed: int | None = None,
    shuffle: bool = True,
) -> Iterator[Batch]:
    """Batches ``start``, ``start`` + 1, ... of an epoch, on the device of the images.

    Equal seeds with different ``augment_seed`` give different views of the same images. A batch does not
    depend on ``start``. Raises UsageError as ``indices`` does.

    Shape: x (B, C, H, W) float32, y (B,) int64; the last batch may be smaller, or larger by one.
    """
    chosen = indices(len(images), batch_size=batch_size, seed=seed, epoch=epoch, start=start, shuffle=shuffle)
    images = replace(images, augment=augment)
    draw = Draw(seed if augment_seed is None else augment_seed, epoch)
    pairs = (images.batch(index, draw) for index in chosen)
    return ((normalise(pixels), labels) for pixels, labels in pairs)


def ranges(n: int, batch_size: int = AT_ONCE) -> list[Tensor]:
    """The numbers of all samples in stored order, for evaluation; no batches if there are no samples."""
    if batch_size < 1:
        raise UsageError(f"batch_size must be >= 1, got {batch_size}")
    return list(torch.arange(n).split(batch_size)) if n else []


def in_order(images: Images, normalise: Normalise, *, batch_size: int = AT_ONCE) -> Iterator[Batch]:
    """All images in stored order, nothing drawn, for evaluation; no batches if there are no images."""
    pairs = (images.batch(index, None) for index in ranges(len(images), batch_size))
    return ((normalise(pixels), labels) for pixels, labels in pairs)

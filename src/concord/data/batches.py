"""Batches of a data set. Batch ``step`` of an epoch is a pure function of (seed, epoch, step).

Nothing is remembered between batches, so a run that goes on at step 300 sees what an uninterrupted one
would have seen, and where iteration starts never changes a batch.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from concord.data import draws
from concord.data.images.augment import Augment
from concord.data.images.images import Images
from concord.errors import ShapeError, UsageError

Batch = tuple[Tensor, Tensor]  # x (B, C, H, W) float32, y (B,) int64


@dataclass(frozen=True)
class Normalise:
    """(x - mean) / std for each channel, on the 0..255 scale of the stored pixels.

    Shape: (B, C, H, W) uint8 -> (B, C, H, W) float32
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]

    @classmethod
    def of(cls, images: Images) -> "Normalise":
        """Exact mean and standard deviation of each channel; a constant channel gets std 1.

        Sums are whole numbers, counted by value: no rounding grows with the size of the data.
        """
        if not len(images):
            raise UsageError("statistics need at least one image")
        moments = [_moments(channel) for channel in images.pixels.cpu().transpose(0, 1)]
        return cls(tuple(mean for mean, _ in moments), tuple(std or 1.0 for _, std in moments))

    def __call__(self, pixels: Tensor) -> Tensor:
        if pixels.ndim != 4 or pixels.shape[1] != len(self.mean):
            raise ShapeError(f"expected (B, {len(self.mean)}, H, W), got {tuple(pixels.shape)}")
        mean, std = _columns(self, pixels.device)
        return pixels.to(torch.float32).sub_(mean).div_(std)


def _moments(channel: Tensor) -> tuple[float, float]:
    counts = torch.bincount(channel.reshape(-1), minlength=256).tolist()
    n = sum(counts)
    total = sum(v * count for v, count in enumerate(counts))
    squares = sum(v * v * count for v, count in enumerate(counts))
    return total / n, math.sqrt(n * squares - total * total) / n


@lru_cache(maxsize=32)  # a tensor made anew for every batch would be a copy to the GPU for every batch
def _columns(normalise: Normalise, device: torch.device) -> tuple[Tensor, Tensor]:
    mean = torch.tensor(normalise.mean, dtype=torch.float32, device=device)
    std = torch.tensor(normalise.std, dtype=torch.float32, device=device)
    return mean.view(1, -1, 1, 1), std.view(1, -1, 1, 1)


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

    Equal seeds with different ``augment_seed`` give different views of the same images. With
    ``shuffle=False`` every epoch has the stored order, as the runs of Noel 2017 had. A batch does not
    depend on ``start``. Raises UsageError for sizes that describe no epoch.

    Shape: x (B, C, H, W) float32, y (B,) int64; the last batch may be smaller, or larger by one.
    """
    steps = steps_per_epoch(len(images), batch_size)
    if not 0 <= start <= steps:
        raise UsageError(f"start must be 0 to {steps} (steps per epoch), got {start}")
    chosen = order(len(images), seed=seed, epoch=epoch) if shuffle else torch.arange(len(images))
    return _batches(
        images,
        normalise,
        _cut(chosen, steps, batch_size)[start:],
        augment,
        (seed if augment_seed is None else augment_seed, epoch),
    )


def _cut(chosen: Tensor, steps: int, batch_size: int) -> list[Tensor]:
    """Batches of an epoch; the last takes whatever is left."""
    return [*chosen[: (steps - 1) * batch_size].split(batch_size), chosen[(steps - 1) * batch_size :]][
        -steps:
    ]


def _batches(
    images: Images,
    normalise: Normalise,
    indices: list[Tensor],
    augment: Augment | None,
    key: tuple[int, int],
) -> Iterator[Batch]:
    for index in indices:
        here = index.to(images.pixels.device, non_blocking=True)
        pixels = images.pixels[here]
        if augment is not None:
            pixels = augment(pixels, index, seed=key[0], epoch=key[1])
        yield normalise(pixels), images.labels[here]


def in_order(images: Images, normalise: Normalise, *, batch_size: int = 500) -> Iterator[Batch]:
    """All images in stored order, nothing drawn, for evaluation; no batches if there are no images."""
    if batch_size < 1:
        raise UsageError(f"batch_size must be >= 1, got {batch_size}")
    pairs = zip(images.pixels.split(batch_size), images.labels.split(batch_size), strict=True)
    return ((normalise(pixels), labels) for pixels, labels in pairs if len(labels))

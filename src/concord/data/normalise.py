"""(x - mean) / std for each channel, with exact statistics of the images that are trained on."""

import math
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.utils.data import get_worker_info

from concord.errors import ShapeError, UsageError

if TYPE_CHECKING:
    from concord.data.images.images import Images


@dataclass(frozen=True)
class Normalise:
    """(x - mean) / std for each channel, on the 0..255 scale of the stored pixels.

    Shape: (B, C, H, W) uint8 -> (B, C, H, W) float32
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]

    @classmethod
    def of(cls, images: "Images") -> "Normalise":
        """Exact mean and standard deviation of each channel; a constant channel gets std 1.

        Sums are whole numbers, counted by value: no rounding grows with the size of the data. Of images that
        are too many to decode beforehand a fixed sample is counted: see ``Images.typical``.
        """
        if not len(images):
            raise UsageError("statistics need at least one image")
        if images.known is not None and images.known.normalise is not None:
            return images.known.normalise
        return cls.of_counts(_histograms(images.typical()))

    @classmethod
    def of_counts(cls, counts: Tensor) -> "Normalise":
        """The same of how often each channel has each value. Shape: (C, 256) int64"""
        moments = [_moments(row) for row in counts.tolist()]
        return cls(tuple(mean for mean, _ in moments), tuple(std or 1.0 for _, std in moments))

    def __call__(self, pixels: Tensor) -> Tensor:
        if pixels.ndim != 4 or pixels.shape[1] != len(self.mean):
            raise ShapeError(f"expected (B, {len(self.mean)}, H, W), got {tuple(pixels.shape)}")
        mean, std = _columns(self, pixels.device)
        return pixels.to(torch.float32).sub_(mean).div_(std)

    def tree(self, pixels: Any) -> Any:
        """The same for the inputs of any data set, which here must be one tensor.

        In a worker process the result lies in shared memory from the start, and need not be copied there.
        """
        if get_worker_info() is None:
            return self(pixels)
        storage = torch.UntypedStorage._new_shared(4 * pixels.numel())
        out = torch.empty(0, dtype=torch.float32).set_(storage).view(pixels.shape)
        for image, place in zip(pixels.split(1), out.split(1), strict=True):  # each fits into the cache
            place.copy_(self(image))
        return out


class Statistics:
    """The normalisation by these images, counted when it is first asked for."""

    def __init__(self, images: "Images") -> None:
        self.images = images

    @cached_property
    def normalise(self) -> Normalise:
        return Normalise.of(self.images)


def _histograms(images: "Images") -> Tensor:
    """How often each channel has each value. Shape: (C, 256) int64"""
    counts = torch.zeros(images.shape[0], 256, dtype=torch.int64)
    for piece in images.pieces():
        for channel, values in enumerate(piece.cpu().transpose(0, 1)):
            counts[channel] += torch.bincount(values.reshape(-1), minlength=256)
    return counts


def _moments(counts: list[int]) -> tuple[float, float]:
    n = sum(counts)
    total = sum(v * count for v, count in enumerate(counts))
    squares = sum(v * v * count for v, count in enumerate(counts))
    return total / n, math.sqrt(n * squares - total * total) / n


@lru_cache(maxsize=32)  # a tensor made anew for every batch would be a copy to the GPU for every batch
def _columns(normalise: Normalise, device: torch.device) -> tuple[Tensor, Tensor]:
    mean = torch.tensor(normalise.mean, dtype=torch.float32, device=device)
    std = torch.tensor(normalise.std, dtype=torch.float32, device=device)
    return mean.view(1, -1, 1, 1), std.view(1, -1, 1, 1)

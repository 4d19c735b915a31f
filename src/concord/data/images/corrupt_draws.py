"""What a corruption draws, as a function of (seed, sample), and how its lengths grow with the picture."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import ndtri
from torch import Tensor

from concord.data import draws

SMALL = 64  # sides up to which pictures count as small
SIDE, LARGE_SIDE = 32, 224  # of the pictures for which both sets of strengths are made


@dataclass(frozen=True)
class Drawn:
    """The draws of a batch; ``samples`` (B,) are numbers of the samples, below 2^31.

    A sample has the same draws at every strength, so that a stronger corruption is the same one, only more.
    """

    seed: int
    samples: Tensor
    corruption: str

    def uniform(self, name: str, *shape: int) -> Tensor:
        """Numbers of (0, 1). Shape: -> (B, *shape) float32"""
        return torch.from_numpy(self._uniform(name, shape)).float()

    def normal(self, name: str, *shape: int) -> Tensor:
        """Numbers of the standard normal distribution. Shape: -> (B, *shape) float32"""
        return torch.from_numpy(ndtri(self._uniform(name, shape))).float()

    def _uniform(self, name: str, shape: tuple[int, ...]) -> NDArray[np.float64]:
        count = int(np.prod(shape, dtype=np.int64))
        first = self.samples.cpu().numpy().astype(np.int64)[:, None] << 32
        found = draws.uniform(first + np.arange(count), self.corruption, name, self.seed)
        return (found + 2.0**-54).reshape(len(self.samples), *shape)


@dataclass(frozen=True)
class Measure:
    """Which strengths a picture gets, and by how much their lengths in pixels grow."""

    small: bool
    factor: float

    @classmethod
    def of(cls, height: int, width: int) -> "Measure":
        """Those for 32 x 32 up to a shorter side of 64, where lengths grow from 32 on; else those for 224."""
        side = min(height, width)
        small = side <= SMALL
        return cls(small, max(1.0, side / SIDE) if small else side / LARGE_SIDE)

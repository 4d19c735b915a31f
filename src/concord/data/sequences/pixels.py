"""Pictures read pixel by pixel: sequential and permuted MNIST.

Source: Q. V. Le, N. Jaitly, G. E. Hinton, "A simple way to initialize recurrent networks of rectified linear
units", 2015, arXiv:1504.00941, section 4.2.
"""

from dataclasses import dataclass
from hashlib import sha256
from math import prod

import torch
from torch import Tensor

from concord.data import draws
from concord.data.dataset import Draw, Spec
from concord.data.images.images import Images


@dataclass(frozen=True, eq=False)
class Pixels:
    """The pixels of each picture as steps, in one order for all pictures; made by ``pixels``."""

    images: Images
    order: Tensor  # (H W,) int64, the pixel of every step

    @property
    def spec(self) -> Spec:
        shape = (len(self.order), self.images.shape[0])
        return Spec("pixels", shape, torch.float32, self.images.classes)

    @property
    def fingerprint(self) -> str:
        return f"{self.images.fingerprint}/{sha256(self.order.numpy().tobytes()).hexdigest()}"

    def __len__(self) -> int:
        return len(self.images)

    def batch(self, index: Tensor, draw: Draw | None) -> tuple[Tensor, Tensor]:
        """Values from 0 to 1. Shape: (B,) -> (B, H W, C), (B,)"""
        maps, labels = self.images.batch(index, draw)
        steps = maps.flatten(2).transpose(1, 2)  # (B, H W, C)
        return steps[:, self.order.to(steps.device)].float() / 255, labels

    def name(self, i: int) -> str:
        return self.images.name(i)


def pixels(images: Images, permuted: int | None = None) -> Pixels:
    """Row by row, or in an order that is a function of the seed ``permuted`` and the size of the pictures.

    MNIST becomes sequences of 784 steps. Give training and test pictures the same seed.
    """
    steps = prod(images.shape[1:])
    if permuted is None:
        return Pixels(images, torch.arange(steps))
    return Pixels(images, torch.from_numpy(draws.permutation(steps, "pixels", permuted)))

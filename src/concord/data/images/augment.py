"""Random changes of training images, drawn for each sample from (seed, epoch, sample) and nothing else.

The batch a sample lands in, its place there and the step at which a run went on change nothing.

Source of pad-and-crop and flip: K. He, X. Zhang, S. Ren, J. Sun, "Deep Residual Learning for Image
Recognition", CVPR 2016, section 4.2 (4 zero pixels on each side, a random crop, a horizontal flip).
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchvision.transforms.v2 import functional as F

from concord.data import draws
from concord.errors import ShapeError, UsageError


@dataclass(frozen=True)
class Augment:
    """What may happen to an image, in this order. Each draw is uniform and independent of the others.

    flip   left and right are exchanged with probability 1/2
    shift  moved by -shift..shift whole pixels along each axis; what comes in repeats the edge pixels
    crop   ``crop`` pixels of 0 (black) on each side, then a window of the old size at a random place

    Shape: (B, C, H, W) uint8 -> (B, C, H, W) uint8
    """

    flip: bool = False
    shift: int = 0
    crop: int = 0

    def __post_init__(self) -> None:
        if self.shift < 0 or self.crop < 0:
            raise UsageError(f"shift and crop are pixels >= 0, got {self.shift} and {self.crop}")

    def __call__(self, pixels: Tensor, samples: Tensor, *, seed: int, epoch: int) -> Tensor:
        """The changed images; ``samples`` (B,) are their numbers in the data set."""
        if pixels.ndim != 4 or samples.shape != pixels.shape[:1]:
            raise ShapeError(
                f"expected (B, C, H, W) and (B,), got {tuple(pixels.shape)} and {tuple(samples.shape)}"
            )
        numbers = samples.cpu().numpy()
        if self.flip:
            turned = torch.from_numpy(_below(2, numbers, "flip", seed, epoch) == 1)
            chosen = turned.to(pixels.device, non_blocking=True).view(-1, 1, 1, 1)
            pixels = torch.where(chosen, F.horizontal_flip(pixels), pixels)
        for name, margin, mode in (("shift", self.shift, "edge"), ("crop", self.crop, "constant")):
            if margin:
                down, right = (
                    _below(2 * margin + 1, numbers, name, axis, seed, epoch) for axis in ("y", "x")
                )
                pixels = _window(F.pad(pixels, [margin], padding_mode=mode), down, right, pixels.shape[2:])
        return pixels


def _below(limit: int, numbers: NDArray[np.int64], *key: str | int) -> NDArray[np.int64]:
    return (draws.bits(numbers, *key) % np.uint64(limit)).astype(np.int64)


def _window(
    padded: Tensor, down: NDArray[np.int64], right: NDArray[np.int64], size: tuple[int, ...]
) -> Tensor:
    height, width = size
    device = padded.device
    rows = torch.from_numpy(down)[:, None] + torch.arange(height)  # (B, H)
    columns = torch.from_numpy(right)[:, None] + torch.arange(width)  # (B, W)
    batch = torch.arange(len(padded), device=device)[:, None, None]
    rows, columns = (places.to(device, non_blocking=True) for places in (rows, columns))
    # Index tensors around a slice put C last: (B, H, W, C).
    return padded[batch, :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2).contiguous()

"""Random changes of training images, drawn for each sample from (seed, epoch, sample) and nothing else.

The batch a sample lands in, its place there and the step at which a run was resumed change nothing.

Source of pad-and-crop and flip: K. He, X. Zhang, S. Ren, J. Sun, "Deep Residual Learning for Image
Recognition", CVPR 2016, section 4.2 (4 zero pixels on each side, a random crop, a horizontal flip).
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchvision.transforms.v2 import functional as F

from concord.data import draws
from concord.data.images import transforms
from concord.errors import ShapeError, UsageError


@dataclass(frozen=True)
class Augment:
    """What may happen to an image, in this order. Each draw is uniform and independent of the others.

    resized_crop  a window with a random area of ``resized_crop`` to 1 of the image and a ratio of sides of
                  3/4 to 4/3, scaled to the size of the image; 0: none
    flip          left and right are exchanged with probability 1/2
    shift         moved by -shift..shift whole pixels along each axis; what comes in repeats the edge pixels
    crop          ``crop`` pixels of 0 (black) on each side, then a window of the old size at a random place
    policy        "trivial": one change of random strength (TrivialAugmentWide); "rand": ``operations``
                  changes of strength ``magnitude`` of 30 (RandAugment)
    brightness, contrast, saturation
                  multiplied by 1 - value to 1 + value, in random order with hue
    hue           turned by -hue..hue of the circle of colours, 0.5 at most
    erasing       with this probability, a random window becomes black

    Shape: (B, C, H, W) uint8 -> (B, C, H, W) uint8
    """

    flip: bool = False
    shift: int = 0
    crop: int = 0
    resized_crop: float = 0.0
    policy: Literal["trivial", "rand"] | None = None
    operations: int | None = None
    magnitude: int | None = None
    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0
    hue: float = 0.0
    erasing: float = 0.0

    def __post_init__(self) -> None:
        if self.shift < 0 or self.crop < 0:
            raise UsageError(f"shift and crop are pixels >= 0, got {self.shift} and {self.crop}")
        transforms.check(self)

    @property
    def by_sample(self) -> bool:
        """Whether there is a change that is made image by image, on the CPU."""
        return bool(transforms.before(self, (1, 1)) or transforms.after(self))

    def __call__(self, pixels: Tensor, samples: Tensor, *, seed: int, epoch: int) -> Tensor:
        """The changed images; ``samples`` (B,) are their numbers in the data set."""
        if pixels.ndim != 4 or samples.shape != pixels.shape[:1]:
            raise ShapeError(
                f"expected (B, C, H, W) and (B,), got {tuple(pixels.shape)} and {tuple(samples.shape)}"
            )
        numbers = samples.cpu().numpy()
        height, width = pixels.shape[2:]
        pixels = transforms.applied(transforms.before(self, (height, width)), pixels, numbers, seed, epoch)
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
        return transforms.applied(transforms.after(self), pixels, numbers, seed, epoch)


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

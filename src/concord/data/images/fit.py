"""Images of any size -> images of one size."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torchvision.transforms.v2 import functional as F

CHUNK = 1024
RULE = "the largest centred window with the proportions of size, scaled to size"


@dataclass(frozen=True)
class Resize:
    """What ``fit`` does, in words, for whoever prepares pictures without concord."""

    size: tuple[int, int]  # height, width

    def plain(self) -> dict[str, Any]:
        """As JSON has it; for a square, the rule is "shorter side to size, then the centre"."""
        return {"rule": RULE, "size": list(self.size), "interpolation": "bilinear", "antialias": True}


def fit(pixels: Tensor, size: tuple[int, int]) -> Tensor:
    """The largest centred window with the proportions of ``size``, scaled to it (bilinear, antialiased).

    For a square this is "shorter side to ``size``, then the centre", without ever holding the scaled
    long side.

    Shape: (..., C, H, W) uint8 -> (..., C, height, width) uint8
    """
    height, width = pixels.shape[-2:]
    if (height, width) == size:
        return pixels
    across = max(1, round(height * size[1] / size[0]))
    down = height if across <= width else max(1, round(width * size[0] / size[1]))
    window = F.center_crop(pixels, [min(down, height), min(across, width)])
    if window.ndim == 3:
        return _scaled(window, size)
    return torch.cat([_scaled(piece, size) for piece in window.split(CHUNK)])


def _scaled(pixels: Tensor, size: tuple[int, int]) -> Tensor:
    return F.resize(pixels, list(size), interpolation=F.InterpolationMode.BILINEAR, antialias=True)

"""Images of any size -> images of one size, by Pillow.

torchvision's resize of uint8 tensors rounds differently on processors without AVX2, so the same photo would
be other pixels there. Pillow's is the same everywhere, and programs without torch can repeat it.
"""

from dataclasses import dataclass
from typing import Any

import torch
from PIL import Image, ImageOps
from torch import Tensor

RULE = "the largest centred window with the proportions of size, scaled to size"


@dataclass(frozen=True)
class Resize:
    """What ``resize`` does, in words, for whoever prepares pictures without concord."""

    size: tuple[int, int]  # height, width

    def plain(self) -> dict[str, Any]:
        """As JSON has it; for a square, the rule is "shorter side to size, then the centre"."""
        return {"rule": RULE, "size": list(self.size), "interpolation": "bilinear", "antialias": True}


def resize_image(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    """The largest centred window with the proportions of ``size``, scaled to it (bilinear, antialiased).

    Pillow's ImageOps.fit. For a square this is "shorter side to ``size``, then the centre", without ever
    holding the scaled long side. ``size`` is (height, width); the image has the mode L or RGB.
    """
    height, width = size
    return ImageOps.fit(image, (width, height), Image.Resampling.BILINEAR)


def resize(pixels: Tensor, size: tuple[int, int]) -> Tensor:
    """``resize_image`` of every channel of every image.

    Shape: (..., C, H, W) uint8 -> (..., C, height, width) uint8
    """
    if pixels.shape[-2:] == size:
        return pixels
    out = torch.empty((*pixels.shape[:-2], *size), dtype=torch.uint8)
    flat = out.view(-1, *size).numpy()
    for i, plane in enumerate(pixels.reshape(-1, *pixels.shape[-2:]).cpu().numpy()):
        flat[i] = resize_image(Image.fromarray(plane), size)
    return out.to(pixels.device)

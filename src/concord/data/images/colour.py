"""Grey pictures as colour and colour as grey, in pixels that are decoded already."""

import torch
from torch import Tensor

from concord.errors import DataError

WEIGHTS = (19595, 38470, 7471)  # of red, green and blue in 65536, as Pillow's convert("L") has them


def as_channels(pixels: Tensor, channels: int) -> Tensor:
    """Pictures with 1 or 3 channels instead of 3 or 1, as Pillow converts them; DataError for other numbers.

    grey = (19595 R + 38470 G + 7471 B + 32768) / 65536, rounded down.
    Shape: (B, C, H, W) uint8 -> (B, channels, H, W) uint8
    """
    given = pixels.shape[1]
    if given == channels:
        return pixels
    if (given, channels) == (1, 3):
        return pixels.expand(-1, 3, -1, -1)
    if (given, channels) == (3, 1):
        weights = torch.tensor(WEIGHTS, device=pixels.device).view(1, 3, 1, 1)
        return (((pixels.long() * weights).sum(1, keepdim=True) + 32768) >> 16).to(torch.uint8)
    raise DataError(f"images of {given} channels cannot be converted to {channels}")

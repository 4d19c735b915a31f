"""Training at several sizes of image.

Source: J. Redmon, A. Farhadi, "YOLO9000: Better, Faster, Stronger", CVPR 2017, section 2 "Multi-Scale
Training": every 10 batches a new size is drawn from the multiples of 32.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torchvision.transforms.v2 import functional as F

from concord.data import draws
from concord.data.detection.place import MULTIPLE
from concord.errors import ShapeError, UsageError

BATCHES = 10  # with one size


def side_of(seed: int, epoch: int, step: int, sides: Sequence[int]) -> int:
    """The longest side of the images of batch ``step`` of an epoch; the same for 10 batches."""
    if not sides or min(sides) < 1:
        raise UsageError(f"sides must be lengths in pixels, at least one, got {list(sides)}")
    (bits,) = draws.bits(np.array([step // BATCHES]), "side", seed, epoch)
    return sides[int(bits % np.uint64(len(sides)))]


def rescaled(
    x: Tensor, target: dict[str, Tensor], side: int, multiple: int = MULTIPLE
) -> tuple[Tensor, dict[str, Tensor]]:
    """Images and boxes at another size: the longest side becomes ``side``, the other the nearest multiple.

    Each axis has its own scale, which the boxes follow. Bilinear with antialiasing.

    Shape: (B, C, H, W) -> (B, C, H', W'); boxes (B, N, 4). Raises UsageError for a side that is not a
    multiple.
    """
    if x.ndim != 4:
        raise ShapeError(f"expected images (B, C, H, W), got {tuple(x.shape)}")
    if side < multiple or side % multiple:
        raise UsageError(f"sides must be multiples of {multiple}, got {side}")
    height, width = x.shape[2:]
    scale = side / max(height, width)
    new_height, new_width = (max(multiple, round(n * scale / multiple) * multiple) for n in (height, width))
    if (new_height, new_width) == (height, width):
        return x, target
    ratio = torch.tensor([new_width / width, new_height / height] * 2, device=x.device)
    resized = F.resize(x, [new_height, new_width], antialias=True)
    return resized, {**target, "boxes": target["boxes"] * ratio}

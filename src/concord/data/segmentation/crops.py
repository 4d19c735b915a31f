"""Windows of an image and its mask to train on, each a function of (seed, epoch, sample).

Source of the deformation and of mirrored edges: O. Ronneberger, P. Fischer, T. Brox, "U-Net: Convolutional
Networks for Biomedical Image Segmentation", MICCAI 2015, sections 2 and 3.1.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2 import functional as F

from concord.data import draws
from concord.data.dataset import Draw
from concord.data.segmentation.deform import GRID, displacement, field
from concord.data.segmentation.table import NOTHING
from concord.errors import UsageError

LARGEST = 4096  # pixels of a side
Layers = tuple[Tensor, ...]  # image (C, H, W) uint8, classes (H, W) int16, and weights (H, W) where there are


@dataclass(frozen=True)
class Crops:
    """What is cut out of training images, and what may happen to it, in this order.

    size        pixels: a side, or height and width; a smaller image is mirrored at its edges, and what is
                added counts for nothing
    deform      standard deviation in pixels of the displacements of ``grid`` x ``grid`` points of the image
    flip        left and right are exchanged with probability 1/2
    turn        by 0, 90, 180 or 270 degrees; for squares
    brightness  the image is multiplied by 1 - value to 1 + value
    """

    size: int | tuple[int, int] = 256
    deform: float = 0.0
    grid: int = GRID
    flip: bool = True
    turn: bool = False
    brightness: float = 0.0

    def __post_init__(self) -> None:
        height, width = self.sides
        if not 1 <= min(height, width) <= max(height, width) <= LARGEST:
            raise UsageError(f"the size of crops must be 1 to {LARGEST}, got {height}x{width}")
        if self.turn and height != width:
            raise UsageError(f"quarter turns are for square crops, got {height}x{width}")
        if not 0 <= self.deform < float("inf") or self.grid < 2:
            raise UsageError(
                f"deform must be 0 or more and grid 2 or more, got {self.deform} and {self.grid}"
            )
        if not 0 <= self.brightness <= 1:
            raise UsageError(f"brightness must be 0 to 1, got {self.brightness}")

    @property
    def sides(self) -> tuple[int, int]:
        """(height, width)"""
        return (self.size, self.size) if isinstance(self.size, int) else self.size

    def layout(self, size: tuple[int, int]) -> tuple[int, int]:
        """Rows and columns of crops that cover an image of this size (H, W): those of one epoch."""
        rows, columns = (-(-whole // side) for whole, side in zip(size, self.sides, strict=True))
        return rows, columns

    def drawn(self, layers: Layers, number: int, draw: Draw) -> Layers:
        """The crop of sample ``number`` in an epoch. Shape: sides (H, W) -> ``sides``"""
        start = int(draws.bits(np.array([number]), "crop", draw.seed, draw.epoch)[0])
        generator = torch.Generator().manual_seed(start)
        down, right, flip, turn, light = torch.rand(5, generator=generator, dtype=torch.float64).tolist()
        coarse = self.deform * torch.randn(2, self.grid, self.grid, generator=generator)
        corner = tuple(
            min(0, whole - side) + int(share * (abs(whole - side) + 1))
            for whole, side, share in zip(layers[1].shape, self.sides, (down, right), strict=True)
        )
        cut = self._deformed(layers, corner, coarse) if self.deform else window(layers, corner, self.sides)
        if self.flip and flip < 0.5:
            cut = tuple(layer.flip(-1) for layer in cut)
        if self.turn:
            cut = tuple(layer.rot90(int(4 * turn), (-2, -1)) for layer in cut)
        if self.brightness:
            image = F.adjust_brightness(cut[0], 1 + self.brightness * (2 * light - 1))
            cut = (image, *cut[1:])
        return cut

    def placed(self, layers: Layers, crop: int) -> Layers:
        """Crop ``crop`` of the layout, where nothing is drawn: evenly spaced from edge to edge."""
        layout = self.layout((layers[1].shape[0], layers[1].shape[1]))
        at = divmod(crop, layout[1])
        corner = tuple(
            round(place * (whole - side) / (count - 1)) if count > 1 else (whole - side) // 2
            for place, whole, side, count in zip(at, layers[1].shape, self.sides, layout, strict=True)
        )
        return window(layers, corner, self.sides)

    def _deformed(self, layers: Layers, corner: tuple[int, ...], coarse: Tensor) -> Layers:
        """The crop of the deformed image, for which only the pixels that move into it are looked at."""
        whole = (layers[1].shape[0], layers[1].shape[1])
        margin = int(_moves(coarse, corner, self.sides, whole).abs().max()) + 2
        corner = tuple(start - margin for start in corner)
        sides = (self.sides[0] + 2 * margin, self.sides[1] + 2 * margin)
        moves = displacement(_moves(coarse, corner, sides, whole))
        image, classes, *weights = window(layers, corner, sides)
        image = F.elastic(image, moves)
        classes = F.elastic(classes[None], moves, InterpolationMode.NEAREST)[0]
        weights = [F.elastic(layer[None], moves)[0] for layer in weights]
        inner = slice(margin, -margin)
        return tuple(layer[..., inner, inner] for layer in (image, classes, *weights))


def _moves(coarse: Tensor, corner: tuple[int, ...], sides: tuple[int, int], whole: tuple[int, int]) -> Tensor:
    """Displacements in a window; beyond the image those of its edge. Shape: -> (2, h, w)"""
    rows, columns = (
        torch.arange(start, start + side).clamp(0, length - 1)
        for start, side, length in zip(corner, sides, whole, strict=True)
    )
    return field(coarse, rows, columns, whole)


def window(layers: Layers, corner: tuple[int, ...], sides: tuple[int, int]) -> Layers:
    """A window of all layers from ``corner`` (y, x), which may lie outside.

    There the image is mirrored at its edges, the class is -1 and the weight 0.
    """
    (y, x), (height, width), whole = corner, sides, layers[1].shape
    if min(y, x) >= 0 and y + height <= whole[0] and x + width <= whole[1]:
        return tuple(layer[..., y : y + height, x : x + width] for layer in layers)
    (rows, above), (columns, beside) = (
        _mirrored(torch.arange(start, start + side), length)
        for start, side, length in zip(corner, sides, whole, strict=True)
    )
    image, classes, *weights = (layer[..., rows[:, None], columns] for layer in layers)
    outside = above[:, None] | beside
    if outside.any():
        classes = classes.masked_fill(outside, NOTHING)
        weights = [layer.masked_fill(outside, 0) for layer in weights]
    return (image, classes, *weights)


def _mirrored(places: Tensor, length: int) -> tuple[Tensor, Tensor]:
    """Places within 0 to length - 1, the edge itself not repeated, and which were outside."""
    period = max(2 * (length - 1), 1)
    folded = places % period
    return torch.minimum(folded, period - folded).clamp(max=length - 1), (places < 0) | (places >= length)

"""Prediction of pictures of any size by overlapping tiles.

Source: O. Ronneberger, P. Fischer, T. Brox, "U-Net", MICCAI 2015, arXiv:1505.04597, section 2 and figure 2.

Departures from the paper:
  * Tiles begin at multiples of what the network pools together, so that all of them pool the same pixels, and
    neighbours give the same output; they are no larger than needed. A picture of 512 takes 2 x 2 tiles as in
    the paper, of 444 -> 260 pixels and from 0 and 256 on; 572 -> 388 would begin at 0 and 124.
  * Networks that pad need no margin. Their tiles overlap, and what padding inside of the picture changes is
    dropped; at the border of the picture they pad as they did in training.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import NamedTuple

import torch
from torch import Tensor, nn

from concord.errors import ShapeError, UsageError

LARGEST = 572  # side of a tile, as in the paper


@dataclass(frozen=True)
class Grid:
    """Which sizes a fully convolutional network takes, and what it does at borders."""

    multiple: int  # of pixels that are pooled together; sizes are multiple k + rest
    rest: int = 0
    margin: int = 0  # pixels on each side of the input that have no output
    overlap: int = 0  # pixels on each side of the output that padding changes, a multiple of ``multiple``

    def fitting(self, size: int) -> int:
        """The smallest size that the network takes and that is not below this one."""
        least = max(size, 2 * self.margin + 1)
        return least + (self.rest - least) % self.multiple

    def fits(self, size: int) -> bool:
        """Whether height and width may be that."""
        return size == self.fitting(size)

    def require(self, x: Tensor) -> None:
        """ShapeError with the next sizes that fit, unless both sides of the pictures do."""
        for side in x.shape[2:]:
            if not self.fits(side):
                above = self.fitting(side)
                near = [str(n) for n in (above - self.multiple, above) if self.fits(n)]
                rest = f" + {self.rest}" if self.rest else ""
                raise ShapeError(
                    f"height and width must be {self.multiple} k{rest} and at least {self.fitting(1)}, got"
                    f" {x.shape[2]}x{x.shape[3]}; next to {side}: {' and '.join(near)}. Crop the pictures, or"
                    " mirror their ends"
                )


class Cut(NamedTuple):
    """How one axis is cut into equal tiles."""

    tile: int  # pixels of the input
    begins: list[int]  # first pixel of the output of each

    def kept(self, overlap: int, length: int) -> Iterator[tuple[int, slice, slice]]:
        """Of each tile its begin, what it gives of the picture, and where that lies in its output."""
        ends = [begin + overlap for begin in self.begins[1:]] + [length]
        first = 0
        for begin, end in zip(self.begins, ends, strict=True):
            yield begin, slice(first, end), slice(first - begin, end - begin)
            first = end


class Tiled(nn.Module):
    """A network as it is in training; in evaluation it predicts pictures of any size, tile by tile.

    Valid convolutions (``margin`` > 0): mirrored pixels surround the picture, and the output has its size. It
    equals one pass over the mirrored picture. Padded ones: it equals one pass over the picture, behind whose
    ends mirrored pixels fill up to a size that fits; tiles overlap by 2 ``overlap``.

    Pixels are mirrored about the centre of the last one (d c b | a b c d | c b a), again and again where the
    picture is smaller than the margin. ``largest`` bounds the side of a tile; at most ``largest``^2 pixels go
    through the network at once. ``grid`` is that of the network, unless it is given.

    Shape: (B, C, H, W) -> (B, K, H, W) in evaluation; that of the network in training
    """

    def __init__(self, network: nn.Module, *, largest: int = LARGEST, grid: Grid | None = None) -> None:
        super().__init__()
        found = getattr(network, "grid", None) if grid is None else grid
        if not isinstance(found, Grid):
            raise UsageError(f"{type(network).__name__} has no grid: give grid=Grid(...), the sizes it takes")
        self.network, self.largest, self.grid = network, largest, found
        least = found.fitting(2 * (found.margin + found.overlap) + found.multiple)
        if largest < least:
            raise UsageError(
                f"the largest tile must be at least {least} pixels for this network, got {largest}"
            )

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            out: Tensor = self.network(x)
            return out
        if x.ndim != 4 or not x.numel():
            raise ShapeError(f"expected pictures (B, C, H, W), got {tuple(x.shape)}")
        cuts = [cut(length, self.grid, self.largest) for length in x.shape[2:]]
        at_once = max(1, self.largest**2 // (cuts[0].tile * cuts[1].tile))
        return torch.cat([self._predicted(part, cuts) for part in x.split(at_once)])

    def _predicted(self, x: Tensor, cuts: list[Cut]) -> Tensor:
        margin, overlap = self.grid.margin, self.grid.overlap
        axes = [cut.kept(overlap, length) for cut, length in zip(cuts, x.shape[2:], strict=True)]
        out: Tensor | None = None
        for (top, rows, from_rows), (left, columns, from_columns) in product(*axes):
            tile = mirrored(mirrored(x, 2, top - margin, cuts[0].tile), 3, left - margin, cuts[1].tile)
            given = self.network(tile)
            if out is None:
                out = given.new_empty(len(x), given.shape[1], *x.shape[2:])
            out[:, :, rows, columns] = given[:, :, from_rows, from_columns]
        assert out is not None  # a picture has at least one tile
        return out


def cut(length: int, grid: Grid, largest: int) -> Cut:
    """As few tiles as cover this length, none above ``largest``, and these as small as they may be.

    The last one ends where one pass over the whole picture would.
    """
    whole = grid.fitting(length + 2 * grid.margin)
    if whole <= largest:
        return Cut(whole, [0])
    tile = grid.fitting(largest - grid.multiple + 1)
    begins = _begins(whole, tile, grid)
    while len(smaller := _begins(whole, tile - grid.multiple, grid)) == len(begins):
        tile, begins = tile - grid.multiple, smaller
    return Cut(tile, begins)


def _begins(whole: int, tile: int, grid: Grid) -> list[int]:
    """Of the tiles of a picture that is ``whole`` with its margins; [] for a tile that keeps nothing."""
    kept = tile - 2 * (grid.margin + grid.overlap)
    step = kept - kept % grid.multiple
    return [*range(0, whole - tile, step), whole - tile] if step > 0 else []


def mirrored(x: Tensor, axis: int, begin: int, length: int) -> Tensor:
    """``length`` positions from ``begin`` on of an axis that is mirrored about its end pixels without end.

    Position i holds x[j] with j = i mod 2 (n - 1), or 2 (n - 1) - j if that is above n - 1.
    """
    n = x.shape[axis]
    if begin >= 0 and begin + length <= n:
        return x.narrow(axis, begin, length)
    turn = max(1, 2 * (n - 1))
    at = torch.arange(begin, begin + length, device=x.device) % turn
    return x.index_select(axis, torch.minimum(at, turn - at) if n > 1 else at)

"""Elastic deformation of image, mask and boxes together.

Source: O. Ronneberger, P. Fischer, T. Brox, "U-Net: Convolutional Networks for Biomedical Image
Segmentation", MICCAI 2015, section 3.1: displacements drawn on a coarse 3x3 grid from a Gaussian with a
standard deviation of 10 pixels, for each pixel by bicubic interpolation.

Departures: torchvision's bicubic interpolation (a = -0.75), the outer points of the grid on the border of
the image. Boxes are moved by the displacement at their corners with its sign reversed, as torchvision does,
which is near the inverse where neighbours move alike.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.transforms import v2
from torchvision.tv_tensors import Mask

from concord.errors import UsageError

GRID, SD = 3, 10.0


def field(coarse: Tensor, rows: Tensor, columns: Tensor, size: tuple[int, int]) -> Tensor:
    """How far each pixel moves: d[y, x] = sum_ij b_i(y) b_j(x) coarse[:, i, j], b the bicubic weights.

    For the pixels at ``rows`` (h,) and ``columns`` (w,) of an image of ``size``.

    Shape: (2, G, G) -> (2, h, w)
    """
    across, down = (_weights(coarse.shape[-1], length) for length in (size[1], size[0]))
    return down[rows] @ coarse @ across[columns].T


def displacement(moves: Tensor) -> Tensor:
    """As torchvision's ``elastic`` takes it, in halves of the sides. Shape: (2, H, W) x, y -> (1, H, W, 2)"""
    height, width = moves.shape[1:]
    return (moves * torch.tensor([2 / width, 2 / height]).view(2, 1, 1)).permute(1, 2, 0)[None]


def _weights(points: int, length: int) -> Tensor:
    """Bicubic weights of the points of a grid for each place of a line. Shape: -> (length, points)"""
    lines = torch.eye(points)[None, :, None, :]  # (1, points, 1, points): one line for each point
    spread = F.interpolate(lines, (1, length), mode="bicubic", align_corners=True)
    return spread[0, :, 0].T


class Deform(v2.Transform):  # type: ignore[misc]
    """Moves every pixel by a smooth random displacement; to compose with torchvision.transforms.v2.

    out[p] = in[p + d(p)], d as ``field`` of N(0, sd) in pixels on ``grid`` x ``grid`` points. Images are
    interpolated linearly, masks take the nearest pixel; from outside come ``fill`` and ``mask_fill``. Raises
    UsageError for a grid below 2 or a negative sd.
    """

    def __init__(self, grid: int = GRID, sd: float = SD, fill: float = 0, mask_fill: float = 0) -> None:
        super().__init__()
        if grid < 2 or sd < 0:
            raise UsageError(f"grid must be 2 or more and sd 0 or more, got {grid} and {sd}")
        self.grid, self.sd, self.fill, self.mask_fill = grid, sd, fill, mask_fill

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        height, width = v2.query_size(flat_inputs)
        coarse = self.sd * torch.randn(2, self.grid, self.grid)
        moves = field(coarse, torch.arange(height), torch.arange(width), (height, width))
        return {"displacement": displacement(moves)}

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        fill = self.mask_fill if isinstance(inpt, Mask) else self.fill
        return self._call_kernel(v2.functional.elastic, inpt, **params, fill=fill)

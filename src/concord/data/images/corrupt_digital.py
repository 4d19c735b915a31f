"""Digital: contrast, elastic, pixelate and JPEG. Values are 0 to 1, shapes (B, C, H, W).

Source: D. Hendrycks, T. Dietterich, "Benchmarking neural network robustness to common corruptions and
perturbations", ICLR 2019, section 4.1, with the strengths of the authors' code for CIFAR-10 (small pictures)
and ImageNet (others).

Departure: the strengths of elastic are our own, parts of the side that places move by, and rise one by one.
"""

from collections.abc import Callable
from io import BytesIO

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from concord.data.images.corrupt_blur import gaussian_blur, gaussian_weights
from concord.data.images.corrupt_draws import Drawn, Measure

CONTRAST = ((0.75, 0.5, 0.4, 0.3, 0.15), (0.4, 0.3, 0.2, 0.1, 0.05))
ELASTIC = (0.01, 0.015, 0.02, 0.025, 0.03)  # deviation of the displacement, of the shorter side
AFFINE = (0.02, 0.03, 0.04, 0.05, 0.06)  # by which each of three points moves at most, of the shorter side
SMOOTH = 0.05  # deviation of the Gaussian that makes displacements smooth, of the shorter side
PIXELATE = ((0.95, 0.9, 0.85, 0.75, 0.65), (0.6, 0.5, 0.4, 0.3, 0.25))
JPEG = ((80, 65, 58, 50, 40), (25, 18, 15, 10, 7))  # quality


def contrast(x: Tensor, strength: int, measure: Measure, drawn: Drawn) -> Tensor:
    """m + s (x - m), with m the mean of the channel."""
    mean = x.mean((2, 3), keepdim=True)
    return mean + CONTRAST[not measure.small][strength - 1] * (x - mean)


def elastic(x: Tensor, strength: int, measure: Measure, drawn: Drawn) -> Tensor:
    """Each pixel from another place: an affine map of three points, and a smooth random displacement."""
    height, width = x.shape[2:]
    side = min(height, width)
    theta = _affine(drawn.uniform("points", 3, 2) * 2 - 1, AFFINE[strength - 1] * side, height, width)
    smooth = SMOOTH * side
    field = gaussian_blur(drawn.normal("field", 2, height, width), smooth)
    field = field / gaussian_weights(smooth).square().sum()  # its deviation, of white noise before
    places = _places(height, width)  # (H, W, 3)
    where = places @ theta.transpose(1, 2)[:, None] + ELASTIC[strength - 1] * side * field.permute(0, 2, 3, 1)
    scale = torch.tensor([2 / width, 2 / height])
    grid = (where + 0.5) * scale - 1
    return F.grid_sample(x, grid, padding_mode="reflection", align_corners=False)


def _affine(jitter: Tensor, most: float, height: int, width: int) -> Tensor:
    """The map that takes three moved points to where they were, (x, y). Shape: (B, 3, 2) -> (B, 2, 3)"""
    centre, third = torch.tensor([width / 2, height / 2]), min(height, width) / 3
    corners = torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, -1.0]]) * third + centre
    ones = torch.ones(len(jitter), 3, 1)
    moved = torch.cat([corners + most * jitter, ones], -1)
    return torch.linalg.solve(moved, corners.expand(len(jitter), 3, 2)).transpose(1, 2)


def _places(height: int, width: int) -> Tensor:
    """(x, y, 1) of each pixel. Shape: -> (H, W, 3)"""
    y, x = torch.meshgrid(torch.arange(float(height)), torch.arange(float(width)), indexing="ij")
    return torch.stack([x, y, torch.ones_like(x)], -1)


def pixelate(x: Tensor, strength: int, measure: Measure, drawn: Drawn) -> Tensor:
    """Fewer pixels, then as many as before, by Pillow's box filter both times."""
    part = PIXELATE[not measure.small][strength - 1]
    height, width = x.shape[2:]
    few = max(1, int(width * part)), max(1, int(height * part))

    def coarse(image: Image.Image) -> Image.Image:
        small = image.resize(few, Image.Resampling.BOX)
        return small.resize((width, height), Image.Resampling.BOX)

    return _by_pillow(x, coarse)


def jpeg(x: Tensor, strength: int, measure: Measure, drawn: Drawn) -> Tensor:
    """Written and read as JPEG by Pillow: grey and colour as such, other channels one by one."""
    quality = JPEG[not measure.small][strength - 1]

    def written(image: Image.Image) -> Image.Image:
        file = BytesIO()
        image.save(file, "JPEG", quality=quality)
        return Image.open(file)

    return _by_pillow(x, written)


def _by_pillow(x: Tensor, change: Callable[[Image.Image], Image.Image]) -> Tensor:
    """Pictures of three channels as RGB, other channels one by one as grey ones."""
    pixels = (x * 255).round().to(torch.uint8)
    colour = x.shape[1] == 3
    planes = pixels.permute(0, 2, 3, 1) if colour else pixels.flatten(0, 1)
    changed = [np.asarray(change(Image.fromarray(np.ascontiguousarray(p)))) for p in planes.numpy()]
    found = torch.from_numpy(np.stack(changed)).float() / 255
    return found.permute(0, 3, 1, 2) if colour else found.view(x.shape)

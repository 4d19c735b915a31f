"""Blur: defocus, glass, motion and zoom. Values are 0 to 1, shapes (B, C, H, W); the border is repeated.

Source: D. Hendrycks, T. Dietterich, "Benchmarking neural network robustness to common corruptions and
perturbations", ICLR 2019, section 4.1, with the strengths of the authors' code for CIFAR-10 (small pictures)
and ImageNet (others). Lengths grow with the picture, see ``Measure``.

Departures: glass copies a near pixel where the authors exchange two, for a part of the pixels, which rises
with the strength, because theirs does not always look stronger; motion takes whole pixels along the line.
"""

from math import ceil, pi

import torch
import torch.nn.functional as F
from torch import Tensor

from concord.data.images.corrupt_draws import Drawn, Measure

DEFOCUS = (  # radius of the disc, deviation of the Gaussian that smooths it
    ((0.3, 0.4), (0.4, 0.5), (0.5, 0.6), (1, 0.2), (1.5, 0.1)),
    ((3, 0.1), (4, 0.5), (6, 0.5), (8, 0.5), (10, 0.5)),
)
GLASS = (  # deviation of the Gaussian, pixels that a value moves at most, part of the pixels, how many times
    ((0.4, 1, 0.3, 1), (0.4, 1, 0.5, 1), (0.4, 1, 0.8, 1), (0.4, 1, 0.8, 2), (0.4, 1, 0.8, 3)),
    ((0.7, 2, 0.5, 1), (0.7, 3, 0.6, 1), (0.7, 4, 0.7, 1), (0.7, 5, 0.8, 1), (0.7, 6, 0.9, 1)),
)
MOTION = (  # pixels of the line, deviation of the weights along it
    ((6, 1), (6, 1.5), (6, 2), (8, 2.25), (9, 2.5)),
    ((10, 3), (15, 5), (15, 8), (15, 12), (20, 15)),
)
ZOOM = (  # largest enlargement, step
    ((1.05, 0.01), (1.10, 0.01), (1.15, 0.01), (1.20, 0.01), (1.25, 0.01)),
    ((1.10, 0.01), (1.15, 0.01), (1.20, 0.02), (1.24, 0.02), (1.30, 0.03)),
)
SLANT = pi / 4  # of a motion, at most, to either side


def defocus_blur(x: Tensor, strength: int, measure: Measure, drawn: Drawn) -> Tensor:
    """Convolution with a disc whose rim is smoothed."""
    radius, smooth = DEFOCUS[not measure.small][strength - 1]
    return convolved(x, disc(radius * measure.factor, smooth))


def disc(radius: float, smooth: float) -> Tensor:
    """Weights of a disc, convolved with a 3 x 3 Gaussian; they sum to 1. Shape: -> (2 r + 1, 2 r + 1)"""
    reach = ceil(radius) + 1
    line = torch.arange(-reach, reach + 1, dtype=torch.float32)
    inside = (line[:, None] ** 2 + line**2 <= radius**2).float()
    near = torch.exp(-(torch.arange(-1.0, 2.0) ** 2) / (2 * smooth**2))
    small = near[:, None] * near
    found = F.conv2d(inside[None, None], small[None, None], padding=1)[0, 0]
    return found / found.sum()


def glass_blur(x: Tensor, strength: int, measure: Measure, drawn: Drawn) -> Tensor:
    """Blur, every pixel from a near place, blur."""
    smooth, most, part, times = GLASS[not measure.small][strength - 1]
    reach = max(1, round(most * measure.factor))
    x = gaussian_blur(x, smooth * measure.factor)
    for time in range(times):
        chosen = drawn.uniform(f"moves {time}", *x.shape[2:]) < part
        down, right = (
            chosen
            * (torch.floor(drawn.uniform(f"{axis} {time}", *x.shape[2:]) * (2 * reach + 1)).long() - reach)
            for axis in ("down", "right")
        )
        x = taken(x, torch.arange(x.shape[2])[:, None] + down, torch.arange(x.shape[3]) + right)
    return gaussian_blur(x, smooth * measure.factor)


def motion_blur(x: Tensor, strength: int, measure: Measure, drawn: Drawn) -> Tensor:
    """Weighted mean along a line, slanted by at most 45 degrees."""
    length, spread = MOTION[not measure.small][strength - 1]
    angle = (2 * drawn.uniform("angle") - 1) * SLANT
    return moved(x, angle, length * measure.factor, spread * measure.factor)


def moved(x: Tensor, angle: Tensor, length: float, spread: float) -> Tensor:
    """sum_i w_i x[p + i (sin a, cos a)], w_i ~ exp(-i^2 / (2 s^2)), i = 0 .. 2 length. Shape: angle (B,)"""
    steps = torch.arange(min(2 * round(length), ceil(4 * spread)) + 1)
    weights = torch.exp(-(steps.float() ** 2) / (2 * spread**2))
    weights /= weights.sum()
    out = torch.zeros_like(x)
    rows, columns = torch.arange(x.shape[2]), torch.arange(x.shape[3])
    for step, weight in zip(steps.tolist(), weights.tolist(), strict=True):
        down, right = (
            (step * part).round().long()[:, None, None] for part in (torch.sin(angle), torch.cos(angle))
        )
        out += weight * taken(x, rows[None, :, None] + down, columns[None, None] + right)
    return out


def zoom_blur(x: Tensor, strength: int, measure: Measure, drawn: Drawn) -> Tensor:
    """Mean of the picture and its enlargements about the centre, from 1 on."""
    most, step = ZOOM[not measure.small][strength - 1]
    count = round((most - 1) / step) + 1
    return (x + sum(enlarged(x, 1 + step * i) for i in range(count))) / (count + 1)


def enlarged(x: Tensor, factor: float) -> Tensor:
    """The centre, larger by the factor, bilinear."""
    if factor == 1:
        return x
    theta = torch.tensor([[1 / factor, 0, 0], [0, 1 / factor, 0]], dtype=x.dtype).expand(len(x), 2, 3)
    grid = F.affine_grid(theta, list(x.shape), align_corners=False)
    return F.grid_sample(x, grid, padding_mode="border", align_corners=False)


def gaussian_blur(x: Tensor, deviation: float) -> Tensor:
    """Convolution with a Gaussian, cut at 4 deviations."""
    if 4 * deviation < 0.5:
        return x
    weights = gaussian_weights(deviation)
    return convolved(convolved(x, weights[:, None]), weights[None])


def gaussian_weights(deviation: float) -> Tensor:
    """exp(-i^2 / (2 s^2)), |i| <= 4 s, of sum 1. Shape: -> (2 r + 1,)"""
    reach = int(4 * deviation + 0.5)
    weights = torch.exp(-(torch.arange(-reach, reach + 1.0) ** 2) / (2 * deviation**2))
    return weights / weights.sum()


def convolved(x: Tensor, weights: Tensor) -> Tensor:
    """Every map with the same weights, whose sides are odd. Shape: (B, C, H, W), (h, w) -> (B, C, H, W)"""
    down, right = weights.shape[0] // 2, weights.shape[1] // 2
    padded = F.pad(x, (right, right, down, down), mode="replicate")
    flat = F.conv2d(padded.flatten(0, 1)[:, None], weights[None, None].to(x.dtype))
    return flat[:, 0].unflatten(0, x.shape[:2])


def taken(x: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """x at these places, those outside moved to the border. Shape: (B, C, H, W), 2 x (B, H, W) or wider"""
    height, width = x.shape[2:]
    place = rows.clamp(0, height - 1) * width + columns.clamp(0, width - 1)  # (B, H, W)
    flat = place.flatten(1)[:, None].expand(-1, x.shape[1], -1)
    return x.flatten(2).gather(2, flat).view(x.shape)

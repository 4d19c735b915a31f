"""Weather: snow, frost, fog and brightness. Values are 0 to 1, shapes (B, C, H, W).

Source: D. Hendrycks, T. Dietterich, "Benchmarking neural network robustness to common corruptions and
perturbations", ICLR 2019, section 4.1, with strengths near those of the authors' code for CIFAR-10 (small
pictures) and ImageNet (others).

Departures: frost is drawn, where the authors lay photographs of frost over the picture; the clouds of fog are
a sum of noise at several scales, not of the diamond-square algorithm; snow and frost get more with every
strength.
"""

from math import pi

import torch
import torch.nn.functional as F
from torch import Tensor

from concord.data.images.corrupt_blur import enlarged, moved
from concord.data.images.corrupt_draws import Drawn, Measure

SNOW = (  # mean, deviation, enlargement, threshold, length and spread of the fall, share of the picture
    (
        (0.1, 0.2, 1, 0.6, 8, 3, 0.95),
        (0.1, 0.2, 1, 0.5, 10, 4, 0.9),
        (0.17, 0.3, 1.75, 0.55, 10, 4, 0.9),
        (0.22, 0.3, 1.75, 0.55, 12, 6, 0.85),
        (0.3, 0.3, 1.25, 0.55, 14, 12, 0.8),
    ),
    (
        (0.1, 0.3, 3, 0.5, 10, 4, 0.8),
        (0.2, 0.3, 2, 0.5, 12, 4, 0.7),
        (0.22, 0.3, 2, 0.5, 12, 8, 0.65),
        (0.25, 0.3, 2.5, 0.5, 12, 8, 0.6),
        (0.3, 0.3, 2.5, 0.5, 12, 12, 0.55),
    ),
)
FROST = (  # share of the picture, of the frost
    ((1, 0.2), (1, 0.3), (0.95, 0.4), (0.9, 0.5), (0.85, 0.6)),
    ((1, 0.4), (0.9, 0.5), (0.85, 0.6), (0.8, 0.7), (0.75, 0.8)),
)
FOG = (  # amount, and by which factor finer clouds are weaker
    ((0.2, 3), (0.5, 3), (0.75, 2.5), (1, 2), (1.5, 1.75)),
    ((1.5, 2), (2, 2), (2.5, 1.7), (2.75, 1.5), (3, 1.4)),
)
BRIGHTNESS = ((0.05, 0.1, 0.15, 0.2, 0.3), (0.1, 0.2, 0.3, 0.4, 0.5))
ICE = torch.tensor([0.85, 0.93, 1.0]).view(3, 1, 1)
LUMA = torch.tensor([0.299, 0.587, 0.114]).view(3, 1, 1)  # ITU-R BT.601


def snow(x: Tensor, strength: int, measure: Measure, drawn: Drawn) -> Tensor:
    """Flakes that fall, and the same turned by 180 degrees, over a whitened picture."""
    mean, deviation, zoom, threshold, length, spread, share = SNOW[not measure.small][strength - 1]
    flakes = enlarged(mean + deviation * drawn.normal("flakes", 1, *x.shape[2:]), zoom)
    flakes = torch.where(flakes < threshold, 0.0, flakes).clamp(0, 1)
    angle = pi / 4 + drawn.uniform("angle") * pi / 2  # downwards
    flakes = moved(flakes, angle, length * measure.factor, spread * measure.factor)
    white = torch.maximum(x, grey(x) * 1.5 + 0.5)
    return share * x + (1 - share) * white + flakes + flakes.flip(2, 3)


def frost(x: Tensor, strength: int, measure: Measure, drawn: Drawn) -> Tensor:
    """a x + b ice, where ice is bright along the ridges of clouds."""
    share, amount = FROST[not measure.small][strength - 1]
    ridges = 1 - (2 * clouds(drawn, x.shape[2], x.shape[3], 1.6) - 1).abs()
    ice = ridges**2
    return share * x + amount * (ice * ICE if x.shape[1] == 3 else ice)


def fog(x: Tensor, strength: int, measure: Measure, drawn: Drawn) -> Tensor:
    """(x + a clouds) m / (m + a), with m the largest value of the picture."""
    amount, fall = FOG[not measure.small][strength - 1]
    most = x.amax((1, 2, 3), keepdim=True)
    return (x + amount * clouds(drawn, x.shape[2], x.shape[3], fall)) * most / (most + amount)


def brightness(x: Tensor, strength: int, measure: Measure, drawn: Drawn) -> Tensor:
    """The value of HSV, max over channels, is raised by s; hue and saturation stay."""
    value = x.amax(1, keepdim=True)
    raised = (value + BRIGHTNESS[not measure.small][strength - 1]).clamp(max=1)
    return torch.where(value > 0, x * raised / value.clamp(min=1e-9), raised)


def grey(x: Tensor) -> Tensor:
    """Luma of colour, the mean of other channels. Shape: (B, C, H, W) -> (B, 1, H, W)"""
    return (x * LUMA).sum(1, keepdim=True) if x.shape[1] == 3 else x.mean(1, keepdim=True)


def clouds(drawn: Drawn, height: int, width: int, fall: float) -> Tensor:
    """Noise on grids of 2, 4, 8, ... cells, each weaker by ``fall``, from 0 to 1. Shape: -> (B, 1, H, W)"""
    total, weight, cells = torch.zeros(()), 1.0, 2
    while cells <= 2 * max(height, width):
        coarse = drawn.uniform(f"clouds {cells}", 1, cells + 1, cells + 1)
        total = total + weight * F.interpolate(coarse, (height, width), mode="bilinear", align_corners=True)
        weight, cells = weight / fall, 2 * cells
    low, high = total.amin((2, 3), keepdim=True), total.amax((2, 3), keepdim=True)
    return (total - low) / (high - low).clamp(min=1e-9)

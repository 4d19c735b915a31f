"""Noise: Gaussian, shot and impulse. Values are 0 to 1, shapes (B, C, H, W).

Source: D. Hendrycks, T. Dietterich, "Benchmarking neural network robustness to common corruptions and
perturbations", ICLR 2019, section 4.1, with the strengths of the authors' code for CIFAR-10 (small pictures)
and ImageNet (others).
"""

import numpy as np
import torch
from scipy.stats import poisson
from torch import Tensor

from concord.data.images.corrupt_draws import Drawn, Measure

GAUSSIAN = ((0.04, 0.06, 0.08, 0.09, 0.10), (0.08, 0.12, 0.18, 0.26, 0.38))  # small pictures, others
SHOT = ((500, 250, 100, 75, 50), (60, 25, 12, 5, 3))
IMPULSE = ((0.01, 0.02, 0.03, 0.05, 0.07), (0.03, 0.06, 0.09, 0.17, 0.27))
LEVELS = 256  # of a pixel


def gaussian_noise(x: Tensor, strength: int, measure: Measure, drawn: Drawn) -> Tensor:
    """x + s n, n standard normal for each value."""
    return x + GAUSSIAN[not measure.small][strength - 1] * drawn.normal("noise", *x.shape[1:])


def shot_noise(x: Tensor, strength: int, measure: Measure, drawn: Drawn) -> Tensor:
    """k / c with k of the Poisson distribution of mean c x: what a detector of c photons counts."""
    photons = SHOT[not measure.small][strength - 1]
    table = _poisson_table(photons)
    level = (x * (LEVELS - 1)).round().long()
    u = drawn.uniform("photons", *x.shape[1:]).double()
    # row v of the table lies in [v, v + 1]: one search finds the quantile for every value at once
    found = torch.searchsorted(table.flatten(), (level + u).contiguous()) - level * table.shape[1]
    return (found / photons).float()


def _poisson_table(photons: int) -> Tensor:
    """v + P(k counts or fewer | mean c v / 255). Shape: -> (256, counts) float64"""
    most = int(photons + 12 * photons**0.5 + 12)
    levels = np.arange(LEVELS)[:, None]
    below = poisson.cdf(np.arange(most)[None], photons * levels / (LEVELS - 1))
    return torch.from_numpy(levels + below)


def impulse_noise(x: Tensor, strength: int, measure: Measure, drawn: Drawn) -> Tensor:
    """Each value is replaced with probability s, by 0 or 1 alike."""
    share = IMPULSE[not measure.small][strength - 1]
    u = drawn.uniform("impulse", *x.shape[1:])
    return torch.where(u < share / 2, 0.0, torch.where(u > 1 - share / 2, 1.0, x))

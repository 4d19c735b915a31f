"""Fifteen corruptions of pictures at five strengths, each a function of (pixels, strength, seed, sample).

Source: D. Hendrycks, T. Dietterich, "Benchmarking neural network robustness to common corruptions and
perturbations", ICLR 2019. These are concord's own versions, for pictures of any size and number of channels:
errors under them are not those of the published benchmarks CIFAR-10-C and ImageNet-C.
"""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from concord.data.images import corrupt_blur as blur
from concord.data.images import corrupt_digital as digital
from concord.data.images import corrupt_noise as noise
from concord.data.images import corrupt_weather as weather
from concord.data.images.corrupt_draws import Drawn, Measure
from concord.errors import ShapeError, UsageError

STRENGTHS = 5
LARGEST = 2**31  # of the numbers of samples

Corruption = Callable[[Tensor, int, Measure, Drawn], Tensor]
FAMILIES: Mapping[str, Mapping[str, Corruption]] = {
    "noise": {
        "gaussian_noise": noise.gaussian_noise,
        "shot_noise": noise.shot_noise,
        "impulse_noise": noise.impulse_noise,
    },
    "blur": {
        "defocus_blur": blur.defocus_blur,
        "glass_blur": blur.glass_blur,
        "motion_blur": blur.motion_blur,
        "zoom_blur": blur.zoom_blur,
    },
    "weather": {
        "snow": weather.snow,
        "frost": weather.frost,
        "fog": weather.fog,
        "brightness": weather.brightness,
    },
    "digital": {
        "contrast": digital.contrast,
        "elastic": digital.elastic,
        "pixelate": digital.pixelate,
        "jpeg": digital.jpeg,
    },
}
CORRUPTIONS: Mapping[str, Corruption] = {
    name: change for family in FAMILIES.values() for name, change in family.items()
}


def corrupted(pixels: Tensor, name: str, strength: int, *, seed: int, samples: Tensor) -> Tensor:
    """The pictures after a corruption of strength 1 to 5.

    ``samples`` (B,) are numbers of the pictures, from 0 and below 2^31: with the seed they decide what is
    drawn, so a picture is corrupted alike in every batch, and at every strength by the same draws.

    Shape: (B, C, H, W) uint8, (B,) -> (B, C, H, W) uint8 on the CPU. Raises ShapeError for others, UsageError
    for an unknown name or strength.
    """
    if name not in CORRUPTIONS:
        raise UsageError(f"a corruption is one of {', '.join(CORRUPTIONS)}, got {name!r}")
    if strength not in range(1, STRENGTHS + 1):
        raise UsageError(f"strength must be a whole number from 1 to {STRENGTHS}, got {strength}")
    if pixels.ndim != 4 or pixels.dtype != torch.uint8 or samples.shape != pixels.shape[:1]:
        raise ShapeError(
            f"expected (B, C, H, W) uint8 and (B,), got {(*pixels.shape,)} {pixels.dtype} and"
            f" {(*samples.shape,)}"
        )
    if not len(pixels):
        return pixels.cpu()
    if int(samples.min()) < 0 or int(samples.max()) >= LARGEST:
        raise UsageError(f"numbers of samples must be from 0 to {LARGEST - 1}")
    x = pixels.cpu().float() / 255
    measure = Measure.of(pixels.shape[2], pixels.shape[3])
    changed = CORRUPTIONS[name](x, strength, measure, Drawn(seed, samples, name))
    return (changed.clamp(0, 1) * 255).round().to(torch.uint8)

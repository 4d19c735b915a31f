"""Images as numbers of 0 to 1, which is where attacks are measured; networks take normalised ones."""

from collections.abc import Callable

import torch
from torch import Tensor

from concord.data.batches import Normalise


def unit(pixels: Tensor) -> Tensor:
    """Stored pixels as numbers of 0 to 1. Shape: (B, C, H, W) uint8 -> float32"""
    return pixels.to(torch.float32) / 255


def normalised(normalise: Normalise, images: Tensor) -> Tensor:
    """What ``normalise`` gives for 255 times the images, but differentiable. Shape: (B, C, H, W), same out"""
    mean, std = columns(normalise, images)
    return (images - mean) / std


def columns(normalise: Normalise, like: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of each channel for images of 0 to 1. Shape: (1, C, 1, 1) each"""
    mean, std = like.new_tensor(normalise.mean) / 255, like.new_tensor(normalise.std) / 255
    return mean.view(1, -1, 1, 1), std.view(1, -1, 1, 1)


def classifier(network: Callable[[Tensor], Tensor], normalise: Normalise) -> Callable[[Tensor], Tensor]:
    """The network as one of images of 0 to 1. Shape: (B, C, H, W) -> (B, K)"""

    def classify(images: Tensor) -> Tensor:
        return network(normalised(normalise, images).contiguous(memory_format=torch.channels_last))

    return classify

"""Signs as bits of 64-bit words: 1 where a value is negative, channels along the bits, tail bits 0."""

import torch
import torch.nn.functional as F
from torch import Tensor


def to_words(negative: Tensor) -> Tensor:
    """Words of the last dimension. Shape: (..., C) bool -> (..., ceil(C / 64)) int64"""
    short = -negative.shape[-1] % 64
    bits = F.pad(negative, (0, short)).unflatten(-1, (-1, 64)).long()
    return (bits << torch.arange(64, device=bits.device)).sum(-1)  # the last bit makes a word negative


def from_words(words: Tensor, channels: int) -> Tensor:
    """The reverse. Shape: (..., ceil(C / 64)) int64 -> (..., C) bool"""
    bits = words.unsqueeze(-1) >> torch.arange(64, device=words.device) & 1
    return bits.flatten(-2)[..., :channels].bool()


def weight_words(weight: Tensor) -> Tensor:
    """Bits of latent weights. Shape: (O, C, KH, KW) -> (O, KH KW, ceil(C / 64)) int64"""
    return to_words((weight < 0).flatten(2).transpose(1, 2))


def weight_signs(words: Tensor, channels: int, kernel: tuple[int, int]) -> Tensor:
    """Signs of weights, -1 or +1. Shape: (O, KH KW, ceil(C / 64)) -> (O, C, KH, KW) float32"""
    negative = from_words(words, channels).transpose(1, 2).unflatten(-1, kernel)
    return 1 - 2 * negative.float()


def to_maps(words: Tensor, channels: int, groups: int = 1) -> Tensor:
    """Signs of maps, -1 or +1. Shape: (N, H, W, G ceil(C / G / 64)) -> (N, C, H, W) float32"""
    negative = from_words(words.unflatten(-1, (groups, -1)), channels // groups)
    return 1 - 2 * negative.flatten(-2).movedim(-1, 1).float()


def from_maps(negative: Tensor, columns: int, groups: int = 1) -> Tensor:
    """Bits of maps, with columns of 0 at both sides.

    Shape: (N, C, H, W) bool -> (N, H, W + 2 columns, words)
    """
    bits = to_words(negative.movedim(1, -1).unflatten(-1, (groups, -1))).flatten(-2)
    return F.pad(bits, (0, 0, columns, columns))

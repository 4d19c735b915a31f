"""Lists of the room `plain` from torch tensors and back, and pictures to train on."""

from random import Random

import torch


def as_map(tensor):
    """(C, H, W) -> H rows of W * C numbers"""
    return tensor.permute(1, 2, 0).flatten(1).tolist()


def as_tensor(rows, channels):
    """H rows of W * C numbers -> (C, H, W)"""
    return torch.tensor(rows, dtype=torch.float64).unflatten(1, (-1, channels)).permute(2, 0, 1)


def give(conv, weight, bias):
    """Weights (F, C, k, k) and biases (F,) of a torch convolution to a plain one."""
    for f, (window, b) in enumerate(zip(weight, bias.tolist(), strict=True)):
        conv.put(f, as_map(window), b)


def stripes(size, seed=0):
    """Nine pictures of 0..255, three each of three kinds: bright above, on the left, or in the middle."""
    random = Random(seed)
    bright = (lambda i, j: i < size / 2, lambda i, j: j < size / 2, lambda i, j: abs(i - size / 2) < size / 4)

    def value(kind, i, j):
        return float(random.randrange(150, 256) if bright[kind](i, j) else random.randrange(100))

    def picture(kind):
        return [[value(kind, i, j) for j in range(size) for _ in "rgb"] for i in range(size)]

    return [(picture(kind), kind) for kind in range(3) for _ in range(3)]


def scaled(pictures):
    return [([[v / 255 - 0.5 for v in row] for row in image], label) for image, label in pictures]

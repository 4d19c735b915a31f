"""Small networks with binary layers for tests of training."""

import torch
from torch import nn

from concord.layers.binary.convolution import BinaryConnectConv2d, BWNConv2d, XNORConv2d


def small(seed, middle):
    """A float, a binary convolution and a dense layer, with batch normalisation, for 6x6 grey images."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(
            nn.Conv2d(1, 4, 3, bias=False),
            nn.BatchNorm2d(4),
            middle(4, 5, 3),
            nn.BatchNorm2d(5),
            nn.Flatten(),
            nn.Linear(20, 3),
        )


def drawn(*sizes):
    """A binary convolution whose signs are drawn."""
    return BinaryConnectConv2d(*sizes, stochastic=True)


MIDDLES = {"xnor": XNORConv2d, "bwn": BWNConv2d, "connect": BinaryConnectConv2d, "drawn": drawn}


def latent(member):
    """The latent weights of its binary layers."""
    return [module.weight for module in member.modules() if hasattr(module, "undecayed")]


def digits_network(kind=XNORConv2d, width=32):
    """Three convolutions for 8x8 grey images: the first, and the dense layer at the end, are in float.

    In the others batch normalisation stands before the sign, and pooling behind the convolution.
    """
    return nn.Sequential(
        nn.Conv2d(1, width, 3, padding=1, bias=False),
        nn.BatchNorm2d(width),
        kind(width, 2 * width, 3, padding=1, bias=False),
        nn.MaxPool2d(2),
        nn.BatchNorm2d(2 * width),
        kind(2 * width, 2 * width, 3, padding=1, bias=False),
        nn.MaxPool2d(2),
        nn.BatchNorm2d(2 * width),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(8 * width, 10),
    )

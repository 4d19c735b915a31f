"""Networks with numbers of every kind, and the comparison of a packed network with the one in floats."""

import copy

import torch
from torch import nn

from concord.layers import pack
from concord.layers.binary.convolution import XNORConv2d


def filled(network, seed=0):
    """Weights with zeros of both signs; batch normalisation with factors above, below and at 0."""
    draw = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for module in network.modules():
            for parameter in module.parameters(recurse=False):
                parameter.copy_(torch.randn(parameter.shape, generator=draw))
                parameter.flatten()[: parameter.numel() // 7 : 3] = 0.0
                parameter.flatten()[1 : parameter.numel() // 7 : 3] = -0.0
            if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d) and module.running_mean is not None:
                module.running_mean.copy_(3 * torch.randn(module.num_features, generator=draw))
                module.running_var.copy_(4 * torch.rand(module.num_features, generator=draw) ** 2)
    return network.eval()


def maps(*shape, seed=0):
    """Inputs, a fifth of which are 0.0 or -0.0."""
    x = torch.randn(shape, generator=torch.Generator().manual_seed(seed))
    x[x.abs() < 0.25] *= 0.0
    return x


def in_floats(network):
    """As ``pack`` lays it out: the float convolutions of the two then round alike.

    Others stay as they are: of one channel, oneDNN gets some strides wrong in this format (torch 2.15).
    """
    own = copy.deepcopy(network).eval()
    real = any(isinstance(m, nn.Conv2d) and not isinstance(m, XNORConv2d) for m in own.modules())
    return own.to(memory_format=torch.channels_last) if real else own


def packed_as_floats(network, *inputs):
    """The packed network, whose outputs equal those in floats bit for bit.

    Each input comes twice with other numbers, because the second time recorded calls may run.
    """
    made = pack(network)
    with torch.no_grad():
        for x in (each for one in inputs for each in (one, -one, *last(one))):
            ours, theirs = made(x.clone()), in_floats(network)(x.clone())
            assert ours.dtype == theirs.dtype
            assert torch.equal(ours, theirs), (ours - theirs).abs().max()
    return made


def last(x):
    """Twice more, channels last; none for rows, and for one channel, see ``in_floats``."""
    if x.ndim != 4 or x.shape[1] == 1:
        return ()
    laid = x.to(memory_format=torch.channels_last)
    return laid, -laid


def folded(made):
    """What each packed layer took in: name -> (names of what was folded into it, what it gives)."""
    names = ("factor", "cut", "out_cut")
    return {
        name: (*(n for n in names if getattr(module, n) is not None), module.gives)
        for name, module in made.named_modules()
        if hasattr(module, "gives")
    }

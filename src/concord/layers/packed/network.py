"""Turn a trained network with binary layers into one for use."""

import copy
from typing import Literal, get_args

import torch
from torch import nn

from concord.errors import UsageError
from concord.layers.binary.convolution import BinaryConnectConv2d, BWNConv2d, XNORConv2d
from concord.layers.binary.dense import BinaryConnectLinear, BWNLinear, XNORLinear
from concord.layers.packed.convolution import PackedConv2d, PackedLinear
from concord.layers.packed.fuse import fused
from concord.layers.packed.weights import PackedWeightsConv2d, PackedWeightsLinear

Joined = Literal["no", "exact", "floats"]


def pack(network: nn.Module, *, joined: Joined = "exact") -> nn.Module:
    """A copy for use, whose binary weights are bits; what it gives equals the network's own bit for bit.

    Batch normalisation before a sign becomes a threshold, that after a convolution a factor and a shift; sums
    with a shortcut join the convolution; layers that follow each other hand on bits instead of floats. Where
    torch.fx cannot follow the forward method, because it branches on values or shapes, each layer is packed
    by itself, as it is with ``joined="no"``: the numbers are the same. Float layers run channels last, in
    which PyTorch may round otherwise; and where its batch normalisation does not round as a fused multiply-
    add, the last bit may differ.

    With ``joined="floats"`` float layers are joined too: the first convolution with its normalisation and
    pooling, shortcuts that halve a map, other convolutions with their normalisation. They are faster, and
    rounded otherwise; a value that lies next to 0 may then get the other sign.

    The state dict holds bits and scales: 1 bit for each binary weight on disk. Raises UsageError for a
    network without a binary layer, and for one that is not in float32.

    >>> from concord.layers import pack
    >>> from concord.layers.binary.dense import XNORLinear
    >>> small = nn.Sequential(nn.Linear(3, 64), XNORLinear(64, 32), nn.Linear(32, 2))
    >>> pack(small)(torch.ones(1, 3)).shape
    torch.Size([1, 2])
    """
    if joined not in get_args(Joined):
        raise UsageError(f"joined is one of {', '.join(get_args(Joined))}; got {joined!r}")
    made = copy.deepcopy(network).eval().requires_grad_(False)
    other = {p.dtype for p in made.parameters() if p.is_floating_point()} - {torch.float32}
    if other:
        raise UsageError(f"a network to pack is in float32, this one has {', '.join(map(str, other))}")
    if type(made) in _BINARY:
        return _packed(made)
    if not _replace(made):
        raise UsageError("the network has no binary layer: nothing to pack (see concord.layers.binary)")
    if joined != "no":
        made = fused(made, floats=joined == "floats")
    return made.to(memory_format=torch.channels_last)


def has_binary_layers(network: nn.Module) -> bool:
    """Whether ``pack`` finds a layer in it."""
    return any(type(module) in _BINARY for module in network.modules())


def _replace(network: nn.Module) -> int:
    """Puts packed layers in the place of binary ones; a layer that stands in two places stays one."""
    done: dict[int, nn.Module] = {}
    for parent in [*network.modules()]:
        for name, child in [*parent._modules.items()]:  # named_children leaves out the second name of a child
            if child is not None and type(child) in _BINARY:
                if id(child) not in done:
                    done[id(child)] = _packed(child)
                setattr(parent, name, done[id(child)])
    return len(done)


def _packed(layer: nn.Module) -> nn.Module:
    return _BINARY[type(layer)](layer)


_BINARY: dict[type, type] = {
    XNORConv2d: PackedConv2d,
    XNORLinear: PackedLinear,
    BWNConv2d: PackedWeightsConv2d,
    BinaryConnectConv2d: PackedWeightsConv2d,
    BWNLinear: PackedWeightsLinear,
    BinaryConnectLinear: PackedWeightsLinear,
}

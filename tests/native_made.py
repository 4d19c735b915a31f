"""Binary layers of drawn sizes, the float layer that each must equal, and paths of the kernel to force."""

from contextlib import contextmanager
from dataclasses import dataclass

import pytest
import torch

from concord.layers.binary.convolution import XNORConv2d
from concord.native import calls, library, words
from concord.native.sizes import Sizes

PATHS = library.chosen("")[1].runs  # those of this processor, and "torch"
COMPILED = [path for path in PATHS if path != "torch"]
needs_kernel = pytest.mark.skipif(not COMPILED, reason="the kernel was not built")


@contextmanager
def forced(path):
    """Operators take this path of the kernel."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(library.VARIABLE, path)
        library.in_use.cache_clear()
        yield
    library.in_use.cache_clear()


@dataclass(frozen=True)
class Layer:
    """Sizes, latent weights, their bits, and alpha."""

    sizes: Sizes
    weight: torch.Tensor
    bits: torch.Tensor
    alpha: torch.Tensor

    def arranged(self):
        return calls.arrange(self.bits, self.sizes)


def layer(sizes, seed=0):
    """Its filters differ in scale."""
    drawn = torch.Generator().manual_seed(seed)
    weight = torch.randn(sizes.filters, sizes.channels // sizes.groups, *sizes.kernel, generator=drawn)
    alpha = weight.abs().flatten(1).mean(1)
    return Layer(sizes, weight, words.weight_words(weight), alpha)


def emulated(layer, x):
    """What the float layer gives in evaluation.

    It sees a copy with the usual strides: with others oneDNN reads beyond small maps of one channel (torch
    2.15).
    """
    return module_of(layer)(x.clone(memory_format=torch.contiguous_format))


def module_of(layer):
    """The float layer with these latent weights."""
    s = layer.sizes
    made = XNORConv2d(
        s.channels, s.filters, s.kernel, s.stride, s.padding, s.dilation, s.groups, False,
        padding_value=int(s.ones),
    )  # fmt: skip
    with torch.no_grad():
        made.weight.copy_(layer.weight)
    return made.eval().requires_grad_(False)


def images(n, channels, height, width, seed=1):
    """A tenth of the values is 0.0, a tenth is -0.0."""
    drawn = torch.Generator().manual_seed(seed)
    x = torch.randn(n, channels, height, width, generator=drawn)
    kind = torch.rand(x.shape, generator=drawn)
    return x.masked_fill_(kind < 0.1, 0.0).masked_fill_(kind > 0.9, -0.0)


def laid(x, layout):
    """The same numbers in another order in memory."""
    if layout == "channels_last":
        return x.to(memory_format=torch.channels_last)
    if layout == "odd":  # every second column of a wider map, whose rows and columns are swapped
        wide = torch.full((*x.shape[:2], 2 * x.shape[3], x.shape[2] + 1), float("nan"))
        wide[:, :, ::2, 1:] = x.transpose(2, 3)
        return wide[:, :, ::2, 1:].transpose(2, 3)
    return x


LAYOUTS = ("contiguous", "channels_last", "odd")

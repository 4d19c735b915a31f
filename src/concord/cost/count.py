"""Parameters, buffers and multiply-accumulates of any network.

A multiply-accumulate is one product of a convolution, a linear layer or a matrix product. Additions of
biases, normalisation, activations and pooling are not counted. FLOPs are twice the multiply-accumulates.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from concord.errors import ConcordError


@dataclass(frozen=True)
class Cost:
    parameters: int  # numbers that training changes
    buffers: int  # numbers that the network keeps besides, such as running statistics
    macs: int  # multiply-accumulates of one forward pass of one sample


def count(network: nn.Module, shape: tuple[int, int, int]) -> Cost:
    """Cost of a network for one sample of that shape (C, H, W). The network itself is not touched.

    A copy without weights runs on the meta device, so neither the size of the network nor that of the sample
    costs time or memory. A network that cannot run there runs for real. What is used twice counts its
    parameters once and its multiply-accumulates twice. Errors are those of the network's own forward pass.
    """
    return Cost(_elements(network.parameters()), _elements(network.buffers()), _macs(network, shape))


def _elements(tensors: Iterable[Tensor]) -> int:
    return sum(t.numel() for t in tensors)


def _macs(network: nn.Module, shape: tuple[int, int, int]) -> int:
    dtype, device = _dtype_and_device(network)
    try:
        return _run(_without_weights(network), torch.empty(1, *shape, dtype=dtype, device="meta"))
    except ConcordError:
        raise
    except (
        Exception
    ):  # data-dependent control flow, tensors outside the state, operations without a meta form
        return _run(deepcopy(network), torch.zeros(1, *shape, dtype=dtype, device=device))


def _dtype_and_device(network: nn.Module) -> tuple[torch.dtype, torch.device]:
    """Those of the first parameter; a network without any gets torch's defaults."""
    first = next(network.parameters(), torch.empty(0))
    return first.dtype, first.device


def _without_weights(network: nn.Module) -> nn.Module:
    """A copy on the meta device that shares what the network shares and never held a weight."""
    memo: dict[int, object] = {}
    for old in network.parameters():
        memo[id(old)] = nn.Parameter(torch.empty_like(old, device="meta"), old.requires_grad)
    for buffer in network.buffers():
        memo[id(buffer)] = torch.empty_like(buffer, device="meta")
    return deepcopy(network, memo)


@contextmanager
def _attention_in_parts() -> Iterator[None]:
    """Without the fused kernels for attention, whose products the counter does not see everywhere."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)


def _run(network: nn.Module, x: Tensor) -> int:
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), _attention_in_parts(), counter:
        network.eval()(x)
    return int(counter.get_total_flops()) // 2

"""How a network is watched in one pass: on the meta device, without numbers, or where it refuses with them.

The network itself is not touched, but for one that cannot be copied, where ``itself`` allows that.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from concord.cost.memory import dense
from concord.cost.values import on_meta
from concord.errors import ConcordError, ShapeError, UsageError, said

T = TypeVar("T")
Watch = Callable[[nn.Module, tuple[Tensor, ...], bool], T]  # the bool: whether tensors have numbers
Input = Tensor | tuple[int, ...]


class LayerError(ShapeError):
    """A layer refused what the network gave it."""


def passed(
    network: nn.Module, inputs: Sequence[Input], watch: Watch[T], *, batch: int = 1, itself: bool = True
) -> T:
    """What ``watch`` gives for the network and these inputs, tensors with a batch or shapes of one sample.

    A shape stands for ``batch`` samples. ``itself``: a network that cannot be copied may run itself.

    Raises ShapeError, UsageError and LayerError as ``count`` says.
    """
    if not isinstance(network, nn.Module):
        raise UsageError(f"expected a torch.nn.Module to count, got {type(network).__name__}")
    given = [tuple(x.shape) if isinstance(x, Tensor) else _sizes(x) for x in inputs]
    if not given or any(size < 1 for shape in given for size in shape):
        raise ShapeError(f"expected inputs with at least one element, got {given}")
    state = _state(network)
    for x in inputs:
        if isinstance(x, Tensor):
            dense(x)
    tensors = tuple(_tensor(x, state, batch) for x in inputs)
    if state and all(x.is_meta for x in state):
        return watch(network, tuple(map(on_meta, tensors)), False)
    try:
        return watch(_without_weights(network), tuple(map(on_meta, tensors)), False)
    except LayerError as refused:
        # The input is wrong, an operation has no meta form, or tensors lie outside the state: numbers decide.
        return _on_cpu(network, state, tensors, watch, refused, itself)


def _sizes(shape: Sequence[int]) -> tuple[int, ...]:
    """The shape of one sample, if it is one."""
    if isinstance(shape, str) or not all(isinstance(size, int) for size in shape):
        raise ShapeError(f"expected a tensor, or whole numbers such as (3, 224, 224), got {shape!r}")
    return tuple(shape)


def _state(network: nn.Module) -> list[Tensor]:
    """Parameters and buffers; UsageError for lazy ones, and for sparse ones and others without a storage."""
    slots = [x for m in network.modules() for x in (*m._parameters.values(), *m._buffers.values())]
    owned = [x for x in slots if x is not None]
    if any(map(is_lazy, owned)):
        raise UsageError("lazy layers have no sizes yet: run the network once, then count it")
    for x in (*owned, *_held(network)):
        dense(x)
    return owned


def _on_cpu(
    network: nn.Module,
    state: Sequence[Tensor],
    tensors: Sequence[Tensor],
    watch: Watch[T],
    refused: LayerError,
    itself: bool,
) -> T:
    """With weights and real numbers, on a copy: zeros where only a shape was given.

    Raises what was ``refused`` without numbers if the input does not fit into memory.
    """
    device = next((x.device for x in state if not x.is_meta), torch.device("cpu"))
    try:
        real = tuple(
            torch.zeros_like(x, device=device) if x.is_meta else x.detach().clone().to(device)
            for x in tensors
        )
    except RuntimeError:
        raise refused from None
    memo: dict[int, object] = {id(x): x.detach().clone() for x in _held(network)}  # they may have a history
    try:
        copy = deepcopy(network, memo)
    except Exception as error:  # what a module holds may be anything, such as a lock
        if itself:
            return watch(network, real, True)
        raise UsageError(
            f"{type(network).__name__} cannot be copied, and this pass would change it: {said(error)}"
        ) from error
    try:
        return watch(copy, real, True)
    except LayerError:  # a hook that closes over the network writes to it, and its copy misses that
        if not itself:
            raise
        return watch(network, real, True)


def _tensor(x: Input, state: Sequence[Tensor], batch: int) -> Tensor:
    """A tensor as it is; a shape as a batch of the type of the network's weights."""
    if isinstance(x, Tensor):
        return x
    dtype = next((p.dtype for p in state if p.is_floating_point()), torch.get_default_dtype())
    try:
        return torch.empty(batch, *x, dtype=dtype, device="meta")
    except RuntimeError as error:  # torch numbers bytes with 63 bits
        raise UsageError(
            f"an input of {tuple(x)} has more elements than torch can number; give a smaller one"
        ) from error


def _without_weights(network: nn.Module) -> nn.Module:
    """A copy on the meta device that shares what the network shares and never held a weight."""
    memo: dict[int, object] = {}
    try:
        for old in network.parameters():
            memo[id(old)] = nn.Parameter(torch.empty_like(old, device="meta"), old.requires_grad)
        for x in (*network.buffers(), *_held(network)):
            memo[id(x)] = on_meta(x)
        return deepcopy(network, memo)
    except Exception as error:
        raise LayerError(f"{type(network).__name__} cannot be copied: {error}") from error


def _held(network: nn.Module) -> list[Tensor]:
    """Tensors that modules hold outside their state, such as weights that are computed."""
    return [x for module in network.modules() for x in vars(module).values() if isinstance(x, Tensor)]


@contextmanager
def blaming_layers(network: nn.Module) -> Iterator[None]:
    """Whatever the network's code raises is a LayerError that names the layer."""
    try:
        yield
    except ConcordError:
        raise
    except (Exception, SystemExit) as error:
        path, kind, shapes = getattr(error, "concord_place", ("", type(network).__name__, ()))
        given = f" of shape {' and '.join(map(str, shapes))}" if shapes else ""
        reason = " ".join(str(error).split())
        if not reason or isinstance(error, SystemExit):
            reason = " ".join(filter(None, (type(error).__name__, reason)))
        raise LayerError(
            f"{path or 'the network'} ({kind}) does not take its input{given}: {reason}"
        ) from error

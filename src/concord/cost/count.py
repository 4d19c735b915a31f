"""Parameters, operations, memory and receptive field of any network, from one watched pass.

Sources of the definitions: Merrikhi 2024, question 1; V. Dumoulin, F. Visin, 2016, arXiv:1603.07285.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.random import fork_rng

from concord.cost import local
from concord.cost.arithmetic import Work, both_owning, numbers, owning
from concord.cost.memory import dense
from concord.cost.operations import NOTHING
from concord.cost.receptive import receptive_fields
from concord.cost.record import Cost, Layer
from concord.cost.values import on_meta
from concord.cost.walk import MARK, Walk
from concord.cost.watch import TURN, watched
from concord.errors import ConcordError, ShapeError, UsageError


class LayerError(ShapeError):
    """A layer refused what the network gave it."""


Input = Tensor | tuple[int, ...]


def count(network: nn.Module, *inputs: Input) -> Cost:
    """What one pass in evaluation costs; each input is a tensor with a batch, or the shape of one sample.

    A shape stands for real numbers. A copy without weights runs on the meta device, so neither the size of
    the network nor that of the sample costs time or memory; a network that cannot run there runs for real,
    and ``device`` says so. The network itself is not touched. What is used twice counts its parameters once
    and its operations twice.

    A network that reads sequences (B, T, D) says so with ``channels_last = True``, so that its field is that
    of its steps.

    A network that cannot be copied, as one with a lock, runs itself, in evaluation mode.

    Raises ShapeError, naming the layer, for inputs that do not fit or are empty; UsageError for a network
    that has no sizes yet, for sparse tensors, and for more elements than torch can number.
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
    tensors = tuple(_tensor(x, state) for x in inputs)
    if state and all(x.is_meta for x in state):
        return _watched_pass(network, tuple(map(on_meta, tensors)), real=False)
    try:
        return _watched_pass(_without_weights(network), tuple(map(on_meta, tensors)), real=False)
    except LayerError as refused:
        # The input is wrong, or there is no meta form: numbers decide, or tensors stand outside the state.
        return _on_cpu(network, state, tensors, refused)


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
    network: nn.Module, state: Sequence[Tensor], tensors: Sequence[Tensor], refused: LayerError
) -> Cost:
    """With weights and real numbers, on a copy: zeros where only a shape was given.

    Raises what was ``refused`` without numbers if there is no room for the input.
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
    except Exception:  # what a module holds may be anything, such as a lock: then it is watched itself
        return _watched_pass(network, real, real=True)
    try:
        return _watched_pass(copy, real, real=True)
    except LayerError:  # a hook that closes over the network writes to it, and its copy misses that
        return _watched_pass(network, real, real=True)


def _tensor(x: Input, state: Sequence[Tensor]) -> Tensor:
    """A tensor as it is; a shape as one sample of the type of the network's weights."""
    if isinstance(x, Tensor):
        return x
    dtype = next((p.dtype for p in state if p.is_floating_point()), torch.get_default_dtype())
    try:
        return torch.empty(1, *x, dtype=dtype, device="meta")
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
def _evaluating(modules: Iterable[nn.Module]) -> Iterator[None]:
    """In evaluation mode; afterwards every module is in the mode that it was in."""
    training = [module for module in modules if module.training]
    for module in training:
        module.training = False
    try:
        yield
    finally:
        for module in training:
            module.training = True


def _watched_pass(network: nn.Module, inputs: tuple[Tensor, ...], *, real: bool) -> Cost:
    walk = Walk(network, real=real)
    for number, x in enumerate(inputs):
        walk.memory.made(x)
        setattr(x, MARK, local.of_input(number, x, getattr(network, "channels_last", False) is True))
    try:
        with TURN, _evaluating(walk.modules.values()), fork_rng(devices=[]), watched(walk):
            network(*inputs)
    except ConcordError:
        raise
    except (Exception, SystemExit) as error:  # the network's code may raise anything
        path, kind, shapes = getattr(error, "concord_place", ("", type(network).__name__, ()))
        given = f" of shape {' and '.join(map(str, shapes))}" if shapes else ""
        reason = " ".join(str(error).split())
        if not reason or isinstance(error, SystemExit):
            reason = " ".join(filter(None, (type(error).__name__, reason)))
        raise LayerError(
            f"{path or 'the network'} ({kind}) does not take its input{given}: {reason}"
        ) from error
    return _summed(walk, inputs[0].device.type)


def _summed(walk: Walk, device: str) -> Cost:
    layers = tuple(_with_unused(_merged(walk.layers), walk))
    return Cost(
        parameters=sum(p.numel() for p in walk.parameters),
        buffers=sum(b.numel() for b in walk.buffers),
        macs=sum(layer.macs for layer in layers),
        other_operations=sum(layer.other_operations for layer in layers),
        activations=sum(layer.activations for layer in layers),
        peak_activations=walk.memory.peak,
        layers=layers,
        receptive_fields=tuple(receptive_fields(walk.layers)),
        device=device,
        without_rule=tuple(walk.without_rule),
    )


def _merged(rows: Sequence[Layer]) -> list[Layer]:
    """Repeated calls of one layer with one shape become one row, where the first stood.

    Its field is that of the last call, which sees most.
    """
    found: dict[tuple[Any, ...], Layer] = {}
    for row in rows:
        key = (row.path, row.type, row.output, row.macs, row.other_operations)
        old = found.get(key)
        found[key] = row if old is None else _added(old, row)
    return list(found.values())


def _added(old: Layer, row: Layer) -> Layer:
    return replace(
        old,
        parameters=old.parameters + row.parameters,
        buffers=old.buffers + row.buffers,
        macs=old.macs + row.macs,
        other_operations=old.other_operations + row.other_operations,
        activations=old.activations + row.activations,
        calls=old.calls + 1,
        one_call=_one_call(old, row),
        fields=row.fields,
    )


def _one_call(old: Layer, row: Layer) -> Work:
    """The rule of either, with the parameters that both rows counted."""
    if old.parameters and row.parameters:
        return both_owning(old.one_call, row.one_call)
    return row.one_call if row.parameters else old.one_call


def _with_unused(rows: list[Layer], walk: Walk) -> list[Layer]:
    """With a row for each module that has parameters or buffers which this pass did not touch.

    Buffers alone stand in the first row of their module, if it has one: a counter of batches.
    """
    first = {row.path: number for number, row in reversed([*enumerate(rows)])}
    for path, module in walk.modules.items():
        parameters = walk.claim(module._parameters.values())
        buffers = walk.claim(module._buffers.values())
        if buffers and not parameters and path in first:
            row = rows[first[path]]
            rows[first[path]] = replace(row, buffers=row.buffers + numbers(buffers))
        elif parameters or buffers:
            kind, sizes = f"{type(module).__name__}, not used", (numbers(parameters), numbers(buffers))
            rows.append(Layer(path, kind, (), *sizes, 0, 0, 0, 1, owning(NOTHING, parameters), ()))
    return rows

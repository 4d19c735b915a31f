"""Parameters, operations, memory and receptive field of any network, from one watched pass.

Sources of the definitions: Merrikhi 2024, question 1; V. Dumoulin, F. Visin, 2016, arXiv:1603.07285.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from torch import Tensor, nn
from torch.random import fork_rng

from concord.cost import local
from concord.cost.arithmetic import Work, both_owning, numbers, owning
from concord.cost.operations import NOTHING
from concord.cost.passes import Input, blaming_layers, passed
from concord.cost.receptive import receptive_fields
from concord.cost.record import Cost, Layer
from concord.cost.walk import MARK, Walk
from concord.cost.watch import TURN, watched


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
    return passed(network, inputs, _watched_pass)


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


def _watched_pass(network: nn.Module, inputs: tuple[Tensor, ...], real: bool) -> Cost:
    walk = Walk(network, real=real)
    for number, x in enumerate(inputs):
        walk.memory.made(x)
        setattr(x, MARK, local.of_input(number, x, getattr(network, "channels_last", False) is True))
    modes, calls = _evaluating(walk.modules.values()), watched(walk)
    with blaming_layers(network), TURN, modes, fork_rng(devices=[]), calls:
        network(*inputs)
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

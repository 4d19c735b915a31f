"""A cell over any number of steps in files of ONNX and torch.export.

The loop of ``scan`` would be unrolled there, to the steps of one example. ONNX has operators for most cells,
which its runtimes execute fastest; other cells, and all of them in torch.export, become a loop in the file.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor

from concord.layers.recurrent.scan import State, Steps, held

Stepped = tuple[State, Tensor]  # torch.export reads the names of types in nested functions


@dataclass(frozen=True)
class Operator:
    """ONNX's "RNN", "GRU" or "LSTM", with blocks of rows in the order of its gates.

    ``weights`` are two, or four with biases, as torch's kernels take them; ``peephole`` is that of i, o, f.
    """

    name: str
    weights: Sequence[Tensor]
    peephole: Tensor | None = None
    options: Mapping[str, Any] = field(default_factory=dict)


class Exportable(Steps, Protocol):
    """What ``exported`` needs of a cell, see ``Cell``."""

    def as_onnx(self) -> Operator | None: ...


def exported(cell: Exportable, x: Tensor, state: State, lengths: Tensor | None) -> tuple[Tensor, State]:
    """What ``scan`` gives, as torch.export and torch.onnx can write it for any T and B."""
    operator = cell.as_onnx() if torch.onnx.is_in_onnx_export() else None
    if operator is None or x.dtype != torch.float32 or not x.shape[2]:  # what ONNX Runtime's operators take
        return _by_loop(cell, x, state, lengths)
    return _by_operator(operator, x, state, lengths)


def _by_operator(operator: Operator, x: Tensor, state: State, lengths: Tensor | None) -> tuple[Tensor, State]:
    """Behind the end of a sequence it gives y = 0 and keeps the state, as ``scan`` does."""
    (steps, batch), hidden = x.shape[:2], state[0].shape[1]
    weight_x, weight_h, *biases = operator.weights
    bias = torch.cat(biases)[None] if biases else None
    ends = None if lengths is None else lengths.int()
    start = [part[None] for part in state]  # each has an axis for one direction
    peephole = [] if operator.peephole is None else [operator.peephole[None]]
    y, *last = torch.onnx.ops.symbolic_multi_out(
        operator.name,
        [x, weight_x[None], weight_h[None], bias, ends, *start, *peephole],
        {"hidden_size": hidden, **operator.options},
        dtypes=[x.dtype] * (1 + len(state)),
        shapes=[(steps, 1, batch, hidden)] + [(1, batch, hidden)] * len(state),
    )
    return y[:, 0], tuple(part[0] for part in last)


def _by_loop(cell: Steps, x: Tensor, state: State, lengths: Tensor | None) -> tuple[Tensor, State]:
    """By torch's own scan, which torch.onnx writes as ONNX's."""
    from torch._higher_order_ops.scan import scan  # without a public name, and slow to import

    def step(before: State, row: State) -> Stepped:
        projected, t = row
        after = cell.step(projected, before)
        return (after, after[0].clone()) if lengths is None else held(after, before, lengths > t)

    if not torch.compiler.is_dynamo_compiling():
        torch.compiler.reset()  # a loop compiled before, for a fixed T, would exclude that T from this one
    rows = cell.project(x), torch.arange(x.shape[0], device=x.device)
    last, y = scan(step, tuple(part.clone() for part in state), rows)
    return y, tuple(last)

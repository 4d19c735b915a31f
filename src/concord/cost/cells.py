"""What concord's own recurrent cells cost over all their steps, from the sizes of their tensors.

Per step: the products of both weights and of full peepholes; of other operations the biases, one sum for
each gate, a product and a sum for each diagonal peephole, and for each unit of an LSTM 3 sigmoids, 2 tanh,
3 products and 1 sum (coupled: 1 - f in place of a sigmoid), of a GRU 2 sigmoids, 1 tanh, r times something
and n + z (h - n) with 3, of an RNN its activation.
"""

from math import prod
from typing import Any

from torch import Tensor

from concord.cost.arithmetic import Work
from concord.cost.recurrent import CELLS, Run, recurrence
from concord.cost.rules import Rule
from concord.layers.recurrent.convlstm import ConvLSTM
from concord.layers.recurrent.gru import GRU
from concord.layers.recurrent.lstm import LSTM
from concord.layers.recurrent.rnn import RNN

EACH = {
    LSTM: 9,
    ConvLSTM: 9,
    GRU: 7,
    RNN: 1,
}  # operations of one step and unit besides sums, biases, peepholes


def recurrence_of(module: Any, x: Tensor) -> Run | None:
    """What a recurrent layer did, torch's or concord's; None for another module or input."""
    kind = type(module)
    if kind in CELLS:
        return recurrence(module, x)
    return over_time(module, x) if kind in EACH else None


def over_time(cell: Any, x: Tensor) -> Run | None:
    """All steps of the cell; None for an input that does not fit.

    Shape: (T, B, D) -> (T, B, H), or (T, B, D, H, W) -> (T, B, C, H, W)
    """
    kernels = cell.weight_x.shape[2:]
    if x.ndim != 3 + len(kernels) or x.shape[2] != cell.weight_x.shape[1] or x.dtype != cell.weight_x.dtype:
        return None
    hidden, sides = cell.weight_h.shape[1], tuple(x.shape[3:])
    state = (x.shape[1], hidden, *sides)
    states = (state,) * (1 if isinstance(cell, GRU | RNN) else 2)
    return Run(_work(cell, x), (len(x), *state), states, 0)


def _work(cell: Any, x: Tensor) -> Work:
    """G·H·(D + H) products per step, times the kernels' sides and the places of maps."""
    rows, hidden = cell.weight_x.shape[0], cell.weight_h.shape[1]
    gates = rows // hidden
    full, diagonal = _peepholes(cell)
    letters = {"G": gates, "H": hidden, "D": x.shape[2], "T": len(x)}
    inputs, own, places = "D", "H", ""
    if maps := x.shape[3:]:
        letters |= {"K_x": cell.weight_x.shape[-1], "K_h": cell.weight_h.shape[-1], "P": prod(maps)}
        inputs, own, places = "D·K_x²", "H·K_h²", "·P"
    if x.shape[1] > 1:
        letters["B"] = x.shape[1]
    products = f"G·H·({inputs} + {own})" + (f" + {full}·H²" if full else "")
    biases = gates * (cell.bias is not None) + (getattr(cell, "bias_hn", None) is not None)
    each_place = isinstance(cell, ConvLSTM) and cell.peephole is not None and cell.peephole.shape[2:] == maps
    owned = products + _of_units(biases) + _of_units(diagonal, "·P" if each_place else "")
    runs = ("B·" if x.shape[1] > 1 else "") + "T·"
    each = gates + biases + 2 * diagonal + full + EACH[type(cell)]
    rule = Rule(
        letters, owned, runs + (f"({products})" if full else products) + places, f"{runs}{each}·H{places}"
    )
    passes = x.shape[1] * len(x) * prod(maps)
    weights = cell.weight_x.numel() + cell.weight_h.numel() + full * hidden**2
    parameters = weights + (biases + diagonal * (prod(maps) if each_place else 1)) * hidden
    return Work(passes * weights, passes * each * hidden, rule, parameters)


def _of_units(number: int, places: str = "") -> str:
    """``+ 3·H``."""
    return f" + {'' if number == 1 else f'{number}·'}H{places}" if number else ""


def _peepholes(cell: Any) -> tuple[int, int]:
    """How many gates see the state through a matrix, and how many through one number for each unit."""
    if isinstance(cell, ConvLSTM):
        return 0, 0 if cell.peephole is None else len(cell.peephole)
    if not isinstance(cell, LSTM) or cell.peephole == "none":
        return 0, 0
    seeing = 2 if cell.coupled else 3
    return (seeing, 0) if cell.peephole == "full" else (0, seeing)

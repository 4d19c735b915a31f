"""What the recurrent layers of torch.nn cost over all their steps.

Source: torch.nn.LSTM, GRU and RNN: two biases per gate; gates of LSTM 4, GRU 3, RNN 1.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from torch import Tensor, nn

from concord.cost.arithmetic import Shape, Work
from concord.cost.rules import Rule


class Cell(NamedTuple):
    gates: int
    each: int  # operations of one step and unit besides products, sums over gates and biases


# LSTM: 3 sigmoids, 2 tanh, 3 products, 1 sum. GRU: 2 sigmoids, 1 tanh, r times a sum, and n + z (h - n) with
# 3. RNN: its activation.
CELLS: Mapping[type[nn.Module], Cell] = {nn.LSTM: Cell(4, 9), nn.GRU: Cell(3, 7), nn.RNN: Cell(1, 1)}


class Run(NamedTuple):
    """What a recurrent layer did, and the shapes of what it gives."""

    work: Work
    output: Shape
    states: tuple[Shape, ...]  # hidden, and for LSTM the cell's
    layers_below: int  # each gives a sequence as long and as wide to the next


def recurrence(m: Any, x: Tensor) -> Run | None:
    """All steps of all layers and directions; None for an input that does not fit.

    Shape: (T, B, D), (B, T, D) if ``batch_first``, or (T, D) -> the same with R·S in place of D
    """
    if x.ndim not in (2, 3) or x.shape[-1] != m.input_size or not _as_built(m, x):
        return None
    if x.ndim == 2:
        steps, batch = x.shape[0], 1
    else:
        steps, batch = x.shape[:2] if not m.batch_first else x.shape[1::-1]
    directions, state = 2 if m.bidirectional else 1, m.proj_size or m.hidden_size
    places = (m.num_layers * directions, *((batch,) if x.ndim == 3 else ()))
    states = ((*places, state), (*places, m.hidden_size)) if type(m) is nn.LSTM else ((*places, state),)
    output = (*x.shape[:-1], directions * state)
    return Run(_work(m, batch, steps), output, states, m.num_layers - 1)


def _as_built(m: Any, x: Tensor) -> bool:
    """Whether the weights have the sizes that the constructor gave them, and the type of x."""
    units, state = CELLS[type(m)].gates * m.hidden_size, m.proj_size or m.hidden_size
    directions = 2 if m.bidirectional else 1
    shapes = []
    for layer in range(m.num_layers):
        inputs = directions * state if layer else m.input_size
        biases = [(units,)] * 2 if m.bias else []
        projection = [(state, m.hidden_size)] if m.proj_size else []
        shapes += [(units, inputs), (units, state), *biases, *projection] * directions
    held = m._flat_weights
    return [w is not None and tuple(w.shape) for w in held] == shapes and all(
        w.dtype == x.dtype for w in held
    )


def _work(m: Any, batch: int, steps: int) -> Work:
    """One layer and direction: G·H·(D + H) products per step. G gates, D features in, H units."""
    cell = CELLS[type(m)]
    directions = 2 if m.bidirectional else 1
    letters = {"B": batch, "T": steps, "G": cell.gates, "D": m.input_size, "H": m.hidden_size}
    letters |= {"L": m.num_layers, "R": directions, "S": m.proj_size or m.hidden_size}
    state = "S" if m.proj_size else "H"
    projection = " + H·S" if m.proj_size else ""
    above = f"R·{state}" if directions > 1 else state
    first, later = (f"G·H·({inputs} + {state}){projection}" for inputs in ("D", above))
    biases = " + 2·G·H" if m.bias else ""
    sums = 3 if m.bias else 1
    other = f"{_times(sums, 'G·H')} + {_times(cell.each, 'H')}"
    runs = ("B·" if batch > 1 else "") + "T·"
    rule = Rule(
        letters,
        _stacked(first + biases, later + biases, m.num_layers, directions),
        runs + f"({_stacked(first, later, m.num_layers, directions)})",
        runs + ("R·" if directions > 1 else "") + ("L·" if m.num_layers > 1 else "") + f"({other})",
    )
    width = directions * (m.proj_size or m.hidden_size)
    inner = _layer(m, cell.gates, m.input_size) + (m.num_layers - 1) * _layer(m, cell.gates, width)
    each = (sums * cell.gates + cell.each) * m.hidden_size * m.num_layers
    parameters = directions * (inner + m.bias * 2 * cell.gates * m.hidden_size * m.num_layers)
    passes = batch * steps * directions
    return Work(passes * inner, passes * each, rule, parameters)


def _layer(m: Any, gates: int, inputs: int) -> int:
    state = m.proj_size or m.hidden_size
    return int(gates * m.hidden_size * (inputs + state) + m.hidden_size * m.proj_size)


def _times(number: int, formula: str) -> str:
    return formula if number == 1 else f"{number}·{formula}"


def _stacked(first: str, later: str, layers: int, directions: int) -> str:
    formula = first if layers == 1 else f"{first} + (L - 1)·({later})"
    return formula if directions == 1 else f"R·({formula})"

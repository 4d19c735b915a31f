"""The equations that a cell shows are the ones that it computes: each line is evaluated as it is written."""

import re
from itertools import product

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from concord.layers.recurrent.convlstm import ConvLSTM
from concord.layers.recurrent.gru import GRU
from concord.layers.recurrent.lstm import LSTM
from concord.layers.recurrent.rnn import RNN
from concord.layers.temporal import TemporalBlock

B, D, H = 3, 4, 5
NAME = re.compile(r"\b([A-Za-z])(?:_(?:\{([^}]*)\}|(\w)))?(?![\w(])")
FUNCTIONS = {"sigmoid": torch.sigmoid, "tanh": torch.tanh, "relu": torch.relu}


class Times:
    """A matrix or a kernel: it stands before what it is multiplied with."""

    def __init__(self, weight):
        self.weight = weight

    def __matmul__(self, x):
        if self.weight.ndim == 4:
            return F.conv2d(x, self.weight, padding="same")
        return F.linear(x, self.weight)


def as_python(text):
    """``W_i x_t + p_i ∘ c_{t-1}`` -> ``v['W_i'] @ v['x_t'] + v['p_i'] * v['c_t-1']``."""
    text = text.replace(" * ", " @ ").replace("∘", "*")
    text = NAME.sub(lambda m: f"v['{m[1]}_{m[2] or m[3]}']" if m[2] or m[3] else f"v['{m[1]}']", text)
    return re.sub(r"\] (?=v\[|\()", "] @ ", text)


def computed(equations, values):
    """All quantities of the equations, whatever order they stand in."""
    left = dict(line.split(" = ", 1) for line in equations)
    while left:
        for name, text in list(left.items()):
            try:
                values[name] = eval(as_python(text), {**FUNCTIONS, "v": values})
            except KeyError:
                continue
            del left[name]
    return values


def blocks(cell, gates, inputs=D):
    """W_i, U_i, b_i ... of every gate, from the blocks of rows; those that are there."""
    found = {}
    for letter, name in (("W", "weight_x"), ("U", "weight_h"), ("b", "bias")):
        parts = (getattr(cell, name) if getattr(cell, name) is not None else torch.empty(0)).chunk(len(gates))
        for gate, part in zip(gates, parts, strict=False):
            key = f"{letter}_{gate}" if gate else letter
            found[key] = maps(cell, part) if letter == "b" else Times(part)
    return found


def maps(cell, vector):
    return vector[:, None, None] if isinstance(cell, ConvLSTM) else vector


def drawn(cell):
    torch.manual_seed(0)
    for parameter in cell.double().parameters():
        nn.init.normal_(parameter, std=0.7)
    return cell


def assert_equal_to_a_step(cell, values, x, state):
    values |= {"x_t": x, **{f"{n}_t-1": part for n, part in zip("hc", state, strict=False)}}
    found = computed(cell.equations(), values)
    after = cell.step(cell.project(x[None])[0], state)
    for name, part in zip("hc", after, strict=False):
        torch.testing.assert_close(found[f"{name}_t"], part, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("activation", "bias"), [*product(("tanh", "relu"), (True, False))])
def test_of_an_rnn(activation, bias):
    cell = drawn(RNN(D, H, activation=activation, bias=bias))
    x, h = torch.randn(2, B, D).double()[0], torch.randn(B, H).double()
    assert_equal_to_a_step(cell, blocks(cell, [""]), x, (h,))


@pytest.mark.parametrize(
    ("peephole", "coupled", "bias", "inputs"),
    [*product(("none", "diagonal", "full"), (False, True), (True, False), (D,)), ("none", False, True, 0)],
)
def test_of_an_lstm(peephole, coupled, bias, inputs):
    cell = drawn(LSTM(inputs, H, peephole=peephole, coupled=coupled, bias=bias))
    values = blocks(cell, "fgo" if coupled else "ifgo")
    if peephole != "none":
        before = dict(
            zip("f" if coupled else "if", cell.peephole_before.chunk(1 if coupled else 2), strict=True)
        )
        for gate, p in {**before, "o": cell.peephole_after}.items():
            values |= {f"p_{gate}": p} if peephole == "diagonal" else {f"P_{gate}": Times(p)}
    state = torch.randn(B, H).double(), torch.randn(B, H).double()
    assert_equal_to_a_step(cell, values, torch.randn(B, inputs).double(), state)
    assert ("x_t" in "".join(cell.equations())) == bool(inputs)


@pytest.mark.parametrize(
    ("reset", "update", "bias"), [*product(("before", "after"), ("z_old", "z_new"), (True, False))]
)
def test_of_a_gru(reset, update, bias):
    cell = drawn(GRU(D, H, reset=reset, update=update, bias=bias))
    values = blocks(cell, "rzn") | ({"b_hn": cell.bias_hn} if cell.bias_hn is not None else {})
    assert_equal_to_a_step(cell, values, torch.randn(B, D).double(), (torch.randn(B, H).double(),))


@pytest.mark.parametrize(("peephole", "inputs"), [("none", D), ("channel", D), ("full", D), ("channel", 0)])
def test_of_a_convlstm(peephole, inputs):
    sides = (6, 7) if peephole == "full" else None
    cell = drawn(ConvLSTM(inputs, H, kernel_x=3, kernel_h=5, peephole=peephole, sides=sides))
    values = blocks(cell, "ifgo")
    if peephole != "none":
        values |= {f"p_{gate}": p for gate, p in zip("ifo", cell.peephole, strict=True)}
    state = torch.randn(B, H, 6, 7).double(), torch.randn(B, H, 6, 7).double()
    assert_equal_to_a_step(cell, values, torch.randn(B, inputs, 6, 7).double(), state)


@pytest.mark.parametrize(("inputs", "kernel", "dilation"), [(D, 3, 1), (H, 2, 3)])
def test_of_a_temporal_block(inputs, kernel, dilation):
    block = drawn(TemporalBlock(inputs, H, kernel, dilation)).eval()
    x, steps = torch.randn(B, inputs, 9).double(), 9
    first, second = block.path[0], block.path[3]
    values = {"W": first.weight, "a": first.bias, "V": second.weight, "b": second.bias}
    if inputs != H:
        values |= {"S": block.shortcut.weight[..., 0], "s": block.shortcut.bias}
    over_time = {"x": x.unbind(2), "u": [], "v": [], "y": []}
    for line in block.equations():
        name, text = line.split("_t = ")
        for t in range(steps):
            over_time[name].append(at(text, values, over_time, t, kernel, dilation))
    torch.testing.assert_close(torch.stack(over_time["y"], 2), block(x), rtol=1e-12, atol=1e-12)


def at(text, values, over_time, t, k, d):
    """A line at one step; an index before the first step gives zeros."""

    def summed(weight, source, index):
        total = 0
        for j in range(k):
            s = eval(index.replace(")d", ")*d"), {"t": t, "k": k, "j": j, "d": d})
            if s >= 0:
                total = total + over_time[source][s] @ values[weight][..., j].t()
        return total

    text = re.sub(r"Σ_j (\w)_j (\w)_\{([^}]*)\}", r"summed('\1', '\2', '\3')", text)
    text = re.sub(r"\bS x_t", "over_time['x'][t] @ values['S'].t()", text)
    text = re.sub(r"\b(\w)_t", r"over_time['\1'][t]", text)
    text = re.sub(r"(?<=\+ )([abs])\b", r"values['\1']", text)
    return eval(text, {"summed": summed, "over_time": over_time, "values": values, "t": t, **FUNCTIONS})

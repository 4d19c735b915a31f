"""Cells in files of ONNX and torch.export, for any batch and steps, beside the cells themselves."""

from functools import partial

import pytest
import torch
from exported_made import as_onnx, as_program, assert_same
from recurrent_made import CELLS, D, H
from torch import nn

from concord.layers.recurrent.convlstm import ConvLSTM
from concord.layers.recurrent.recurrent import Recurrent
from concord.layers.recurrent.slope import with_slope

pytest.importorskip("onnxruntime", reason="needs the extra export")

LOOPS = ["lstm coupled full", "convlstm full"]  # ONNX has no operator for them
OPERATORS = [name for name in CELLS if "full" not in name and "conv" not in name]
STACKED = ["rnn", "lstm coupled diagonal", "gru before z_new"]


def layers(name, *, stacked=False):
    """Layers with a learned start whose every parameter is drawn, in float32."""
    _, kind, options = CELLS[name]
    make = partial(kind, initial_state="learned", **options)
    found = Recurrent(make, D, H, layers=1 + stacked, bidirectional=stacked)
    for parameter in found.parameters():
        nn.init.normal_(parameter, 0, 0.4)
    return found


class Together(nn.Module):
    """Many layers on one input, because an export takes a second: what each gives, and its last states."""

    def __init__(self, parts):
        super().__init__()
        self.parts = nn.ModuleList(parts)

    def forward(self, x, lengths=None):
        given = []
        for part in self.parts:
            maps = isinstance(part.cells[0], ConvLSTM)
            read = x[..., None, None].expand(-1, -1, -1, 3, 4) if maps else x
            y, states = part(read.to(part.cells[0].weight_h.dtype), None, lengths)
            given += [y, *(part for state in states for part in state)]
        return given


def inputs(with_lengths, batch, steps, lengths):
    x = torch.randn(batch, steps, D)
    return (x, lengths) if with_lengths else (x,)


def example(with_lengths):
    return inputs(with_lengths, 2, 9, torch.tensor([4, 9]))


@pytest.fixture
def every_operator():
    torch.manual_seed(0)
    parts = [layers(name) for name in OPERATORS] + [layers(name, stacked=True) for name in STACKED]
    return Together(parts).eval()


@pytest.mark.parametrize("with_lengths", [True, False])
def test_onnxs_own_operators_give_what_cells_give(every_operator, with_lengths):
    ask, operators = as_onnx(every_operator, example(with_lengths))
    assert_same(ask, every_operator, partial(inputs, with_lengths))
    expected = {"RNN": 2 + 4, "LSTM": 6 + 4, "GRU": 5 + 4}
    assert {kind: operators[kind] for kind in (*expected, "Scan")} == expected | {"Scan": 0}


def test_cells_that_onnx_lacks_and_float64_become_loops():
    torch.manual_seed(0)
    network = Together([*map(layers, LOOPS), layers("lstm").double()]).eval()
    ask, operators = as_onnx(network, example(True))
    assert_same(ask, network, partial(inputs, True))
    assert operators["Scan"] == 3
    assert not operators["LSTM"]


def test_programs_of_torch_export_give_what_cells_give():
    torch.manual_seed(0)
    steep = layers("lstm")
    with_slope(steep.cells[0]).value.fill_(1.7)
    network = Together([steep, *map(layers, ("gru after z_old", "lstm diagonal", "convlstm full"))]).eval()
    assert_same(as_program(network, example(True)), network, partial(inputs, True))


def test_an_export_of_fixed_steps_leaves_later_ones_free():
    network = Together([layers("rnn")]).eval()
    as_program(network, inputs(False, 2, 5, None), fixed=True)
    assert_same(as_program(network, example(False)), network, partial(inputs, False))

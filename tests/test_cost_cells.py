"""Costs of concord's recurrent cells beside a walk through every operation of the scan."""

import pytest
import torch
from recurrent_made import CELLS, D, H, made
from torch import nn

from concord.cost import cells
from concord.cost.count import count
from concord.layers.recurrent.gru import GRU
from concord.layers.recurrent.lstm import LSTM
from concord.layers.recurrent.recurrent import Recurrent


@pytest.mark.parametrize("start", ["zero", "learned"])
@pytest.mark.parametrize("name", CELLS)
def test_a_cell_costs_what_its_operations_cost(name, start, monkeypatch):
    _, cell, x = made(name, start)
    layer = Recurrent(lambda *_: cell, D, H).float()
    x = x.transpose(0, 1).float()
    cost = count(layer, x)
    monkeypatch.setattr(cells, "EACH", {})
    steps = count(layer, x)
    assert (cost.macs, cost.other_operations) == (steps.macs, steps.other_operations)
    assert cost.parameters == steps.parameters == sum(p.numel() for p in layer.parameters())
    rows = [row for row in cost.layers if row.path == "cells.0"]
    assert (len(rows), rows[0].output) == (1, (x.shape[1], x.shape[0], H, *x.shape[3:]))
    assert rows[0].rule.startswith("G\u00b7H\u00b7(D")


def test_a_cell_by_hand():
    """3 H (D + H + 1) + H parameters; 7 steps of 3 H (D + H) products."""
    cost = count(Recurrent(GRU, 3, 5), (7, 3))
    assert (cost.parameters, cost.macs) == (3 * 5 * 9 + 5, 7 * 3 * 5 * 8)
    assert cost.other_operations == 7 * 5 * (3 + 4 + 7)


def test_layers_and_directions_are_counted_by_themselves_also_on_the_meta_device():
    layer = Recurrent(LSTM, 3, 5, layers=2, bidirectional=True)
    x = torch.zeros(2, 7, 3)
    cost = count(layer, x)
    assert [row.path for row in cost.layers if row.macs] == [f"cells.{k}" for k in range(4)]
    assert cost.macs == 2 * 7 * 2 * 4 * 5 * ((3 + 5) + (10 + 5))
    theirs = count(nn.LSTM(3, 5, 2, bidirectional=True, batch_first=True), x)
    assert (cost.macs, cost.device) == (theirs.macs, "meta")


def test_other_widths_are_refused_by_torch():
    with pytest.raises(ValueError, match=r"cells\.0"):
        count(Recurrent(GRU, 3, 5), (7, 4))

"""The state of a network against the position in what it reads."""

import re

import pytest
import torch
from torch import nn

from concord.layers.recurrent.gru import GRU
from concord.layers.recurrent.lstm import LSTM
from concord.report.activations import StatePanel, activation_figure, states_over_time


@pytest.mark.parametrize("cell", [GRU(3, 4, reset="before"), LSTM(3, 4), LSTM(3, 4, initial_state="learned")])
def test_states_are_those_behind_every_beginning_of_the_sequence(cell):
    for vector in cell.first.vectors:
        nn.init.normal_(vector)
    x = torch.randn(6, 3)
    states = states_over_time(cell, x)
    torch.testing.assert_close(states[0], cell.initial(1)[-1][0])
    for t in range(1, 7):
        _, after = cell(x[:t, None])
        torch.testing.assert_close(states[t], after[-1][0])


def test_an_lstm_shows_its_memory_and_not_what_it_gives():
    cell, x = LSTM(1, 2), torch.ones(3, 1)
    states = states_over_time(cell, x)
    assert not torch.allclose(states[1:], cell(x[:, None])[0][:, 0])


def test_a_counter_is_drawn_as_a_line_up_and_a_line_down():
    n = 1000
    states = torch.cat([torch.arange(n + 1.0), torch.arange(n - 1.0, -1, -1)])[:, None]
    drawing = activation_figure([[StatePanel("counter", states, (n,))]], title="counters")
    assert ">counter<" in drawing
    assert len(drawing) < 20_000  # a line of 2,001 states is drawn with some of them
    assert drawing == activation_figure([[StatePanel("counter", states, (n,))]], title="counters")
    line = max(re.findall(r' d="([^"]+)"', drawing), key=len)
    heights = [float(y) for _, y in re.findall(r"[ML] (\S+) (\S+)", line)]
    top = heights.index(min(heights))  # the peak at the mark is kept whatever is left out
    assert heights[: top + 1] == sorted(heights[: top + 1], reverse=True)
    assert heights[top:] == sorted(heights[top:])

"""How the norm of a gradient changes on its way back, against products of matrices."""

import pytest
import torch

from concord.layers.recurrent.rnn import RNN
from concord.report.gradients import STEPS, gradient_figure, gradient_lines, norms_over_time

T, H = 12, 4


def linear_rnn(weight):
    """An RNN that never leaves the half of relu where it is linear: everything in it is positive."""
    cell = RNN(2, H, activation="relu", bias=False).double()
    with torch.no_grad():
        cell.weight_x.copy_(torch.rand(H, 2) + 0.1)
        cell.weight_h.copy_(weight)
    return cell


def test_norms_of_a_linear_network_are_those_of_powers_of_its_matrix():
    torch.manual_seed(0)
    weight, v = torch.rand(H, H).double(), torch.randn(H).double()
    found = norms_over_time(linear_rnn(weight), torch.rand(T, 3, 2).double() + 0.1, v)
    expected = [(torch.linalg.matrix_power(weight.t(), T - t) @ v).norm() for t in range(T + 1)]
    torch.testing.assert_close(found, torch.stack(expected), rtol=1e-12, atol=0)


@pytest.mark.parametrize("radius", [0.5, 1.0, 1.5])
def test_norms_under_an_orthogonal_matrix_are_powers_of_its_radius(radius):
    permutation = torch.eye(H).double()[[2, 0, 3, 1]]
    v = torch.randn(H).double()
    found = norms_over_time(linear_rnn(radius * permutation), torch.rand(T, 1, 2).double() + 0.1, v)
    expected = radius ** torch.arange(T, -1, -1).double() * v.norm()
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=0)


def test_the_lines_show_what_vanishes_and_what_explodes_and_are_the_same_again():
    before = torch.random.get_rng_state()
    lines = gradient_lines()
    assert torch.equal(torch.random.get_rng_state(), before)
    assert lines == gradient_lines()
    assert lines != gradient_lines(seed=1)
    first = {}
    for line in lines:
        assert len(line.norms) == STEPS + 1
        first.setdefault(line.cell, []).append(line.norms[0] / line.norms[-1])
    assert list(first) == ["RNN", "LSTM", "GRU"]
    for ratios in first.values():  # in the order of the starts
        assert ratios == sorted(ratios)
        assert ratios[0] < 1e-15
    assert first["RNN"][-1] > 1e3
    assert 0.1 < first["GRU"][-1] < 10 > first["LSTM"][-1] > 0.1


def test_the_figure_is_one_drawing_with_a_panel_for_each_cell():
    drawing = gradient_figure(gradient_lines(), title="norms")
    assert drawing == gradient_figure(gradient_lines(), title="norms")
    for text in ("RNN", "LSTM", "GRU", "forget bias 5", "1e-15"):
        assert f">{text}<" in drawing

"""Gradients through time beside the chain rule, and Omega beside its equation written out."""

import pytest
import torch
from recurrent_made import CELLS, B, H, T, made

from concord.errors import ShapeError, UsageError
from concord.layers.recurrent.omega import omega
from concord.layers.recurrent.probe import gradient_norms, state_gradients
from concord.layers.recurrent.rnn import RNN
from concord.layers.recurrent.scan import scan
from concord.layers.recurrent.slope import with_slope


@pytest.mark.parametrize("name", ["rnn", "lstm diagonal", "gru before z_new", "convlstm"])
def test_the_gradient_of_a_state_is_that_of_all_that_comes_behind_it(name):
    """Step t is made an initial state of its own, whose gradient autograd gives without taps."""
    _, cell, x = made(name)
    pull = torch.randn(T, *scan(cell, x)[0].shape[1:], dtype=torch.float64)
    found = state_gradients(cell, x, lambda y: (y * pull).sum())
    for t in (0, 3, T - 1):
        _, state = scan(cell, x[:t]) if t else (None, cell.initial(B, *x.shape[3:]))
        state = tuple(part.detach().requires_grad_() for part in state)
        y, _ = scan(cell, x[t:], state)
        total = (y * pull[t:]).sum() + ((state[0] * pull[t - 1]).sum() if t else 0)
        torch.testing.assert_close(found[t], torch.autograd.grad(total, state[0])[0])
    torch.testing.assert_close(found[T], pull[-1])
    torch.testing.assert_close(gradient_norms(found)[2], found[2].flatten(1).norm(dim=1))


def test_a_state_behind_the_end_of_a_sample_has_no_gradient():
    _, cell, x = made("rnn")
    found = state_gradients(cell, x, lambda y: y.sum(), lengths=torch.tensor([2, 7, 1, 5]))
    assert found[2, 0].any()
    assert not found[3:, 0].any()


def written_out(cell, h, d, form):
    """The equation, sample by sample and step by step, with the Jacobian as a matrix."""
    rows = []
    for b in range(h.shape[1]):
        for k in range(h.shape[0] - 1):
            jacobian = torch.diag(1 - h[k + 1, b] ** 2) @ cell.weight_h
            ratio = (d[k + 1, b] @ jacobian).norm() / d[k + 1, b].norm()
            rows.append((ratio - 1) ** 2 if form == "paper" else (ratio**2 - 1) ** 2)
    return sum(rows) / (h.shape[1] if form == "paper" else len(rows))


@pytest.mark.parametrize("form", ["paper", "released"])
def test_omega_is_its_equation_and_moves_the_recurrent_weights_alone(form):
    _, cell, x = made("rnn")
    y, _ = scan(cell, x)
    h = torch.cat([cell.initial(B)[0][None], y])
    d = state_gradients(cell, x, lambda y: y[-1].square().sum())
    found = omega(cell, h, d, form)
    torch.testing.assert_close(found, written_out(cell, h.detach(), d, form))
    (expected,) = torch.autograd.grad(written_out(cell, h.detach(), d, form), [cell.weight_h])
    given = torch.autograd.grad(found, list(cell.parameters()), allow_unused=True)
    for (name, _), gradient in zip(cell.named_parameters(), given, strict=True):
        if name == "weight_h":
            torch.testing.assert_close(gradient, expected)
        else:
            assert gradient is None


def test_with_a_loss_at_the_end_omega_follows_from_the_norms_alone():
    """Then what comes back through time is the whole gradient of the state before."""
    _, cell, x = made("rnn")
    y, _ = scan(cell, x)
    h = torch.cat([cell.initial(B)[0][None], y])
    d = state_gradients(cell, x, lambda y: y[-1].sum())
    norms = gradient_norms(d)
    expected = ((norms[:-1] / norms[1:] - 1) ** 2).sum(0).mean()
    torch.testing.assert_close(omega(cell, h, d), expected)


@pytest.mark.parametrize("form", ["paper", "released"])
def test_an_orthogonal_linear_network_has_no_omega(form):
    cell = RNN(2, H, activation="relu").double()
    h = torch.ones(T + 1, B, H, dtype=torch.float64)
    d = torch.randn(T + 1, B, H, dtype=torch.float64)
    assert omega(cell, h, d, form).item() == pytest.approx(0, abs=1e-6)
    d[:, 0] = 0  # says nothing, and is not divided by
    assert omega(cell, h, d, form).item() == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("name", [n for n in CELLS if "conv" not in n])
def test_a_slope_multiplies_what_a_cell_sees(name):
    _, cell, x = made(name, start="zero")
    before = {key: p.detach().clone() for key, p in cell.named_parameters()}
    first = cell(x)[0]
    slope = with_slope(cell)
    assert torch.equal(cell(x)[0], first)
    slope.value.fill_(3)
    for key in ("weight_x", "weight_h", "bias"):
        if getattr(cell, key) is not None:
            torch.testing.assert_close(getattr(cell, key), 3 * before[key])
    assert not torch.allclose(cell(x)[0], first)
    with pytest.raises(UsageError, match="already"):
        with_slope(cell)


def test_wrong_use_is_refused():
    _, cell, x = made("rnn")
    with pytest.raises(ShapeError, match="must be one number"):
        state_gradients(cell, x, lambda y: y)
    h = torch.zeros(3, 2, H)
    with pytest.raises(ShapeError, match="expected states and gradients"):
        omega(cell, h, h[1:])
    with pytest.raises(UsageError, match="of the paper or as released"):
        omega(cell, h, h, "mine")

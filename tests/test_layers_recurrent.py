"""Recurrent cells beside the same equations in NumPy, torch's own layers, and finite differences."""

import math
from functools import partial

import pytest
import torch
from recurrent_made import CELLS, B, D, H, T, made, over_time
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from concord.errors import ShapeError, UsageError
from concord.layers.recurrent.convert import from_torch, to_torch
from concord.layers.recurrent.convlstm import ConvLSTM
from concord.layers.recurrent.gru import GRU
from concord.layers.recurrent.lstm import LSTM
from concord.layers.recurrent.recurrent import Recurrent
from concord.layers.recurrent.rnn import RNN
from concord.layers.recurrent.scan import scan


def first_of(cell, x):
    return cell.initial(B, *x.shape[3:])


@pytest.mark.parametrize("name", CELLS)
def test_a_cell_gives_what_its_equations_give_in_numpy(name):
    step, cell, x = made(name)
    expected = over_time(step, cell, x, first_of(cell, x))
    y, last = scan(cell, x)
    torch.testing.assert_close(y.detach(), torch.from_numpy(expected[0]), rtol=0, atol=1e-10)
    for part, values in zip(last, expected, strict=True):
        torch.testing.assert_close(part.detach(), torch.from_numpy(values[-1]), rtol=0, atol=1e-10)


@pytest.mark.parametrize("name", [name for name in CELLS if "conv" not in name])
def test_gradients_are_those_of_finite_differences(name):
    _, cell, x = made(name)
    names = [key for key, _ in cell.named_parameters()]

    def outcome(x, *values):
        layer = Recurrent(lambda *_: cell, D, H)
        held = {f"cells.0.{key}": value for key, value in zip(names, values, strict=True)}
        y, (last,) = torch.func.functional_call(layer, held, (x,))
        return y, *last

    inputs = [x[:3, :2].transpose(0, 1), *(p.detach() for p in cell.parameters())]
    assert torch.autograd.gradcheck(outcome, [value.clone().requires_grad_() for value in inputs])


def test_gradients_of_maps_are_those_of_finite_differences():
    cell = ConvLSTM(1, 2, kernel_x=3, kernel_h=3, initial_state="learned").double()
    x = torch.randn(2, 1, 1, 2, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x, *_: scan(cell, x)[0], (x, *cell.parameters()))


FAST = [name for name in CELLS if name.startswith(("rnn", "lstm", "gru")) and "coupled" not in name]


@pytest.mark.parametrize("lengths", [None, [7, 1, 3, 7], [2, 2, 2, 2]])
@pytest.mark.parametrize("name", FAST)
def test_a_kernel_gives_the_numbers_and_gradients_of_the_scan(name, lengths):
    _, cell, x = made(name)
    lengths = None if lengths is None else torch.tensor(lengths)
    fast = cell.at_once(x, first_of(cell, x), lengths)
    known = any(word in name for word in ("before", "z_new", "full"))
    if known or ("diagonal" in name and lengths is not None):
        assert fast is None
        return
    slow = scan(cell, x, None, lengths)
    pull = torch.randn(T, B, H, dtype=torch.float64)
    gradients = []
    for y, last in (fast, slow):
        total = (y * pull).sum() + sum((part * pull[k]).sum() for k, part in enumerate(last))
        gradients.append(torch.autograd.grad(total, list(cell.parameters())))
    torch.testing.assert_close(fast, slow, rtol=0, atol=1e-12)
    torch.testing.assert_close(*gradients, rtol=0, atol=1e-12)


def test_the_backward_pass_by_hand_leaves_what_it_reads_as_it_was():
    _, cell, x = made("lstm diagonal")
    start = tuple(part.detach().clone() for part in first_of(cell, x))
    before = [part.clone() for part in (*start, *cell.parameters())]
    y, last = cell.at_once(x, start, None)
    (y.sum() + last[1].sum()).backward()
    assert all(torch.equal(a, b) for a, b in zip(before, (*start, *cell.parameters()), strict=True))


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
@pytest.mark.parametrize("options", [{}, {"bidirectional": True, "num_layers": 2}, {"bias": False}])
def test_torchs_layers_convert_and_give_the_same(kind, options):
    torch.manual_seed(1)
    theirs = kind(D, H, batch_first=True, **options).double()
    ours, x = from_torch(theirs), torch.randn(B, T, D, dtype=torch.float64)
    torch.testing.assert_close(ours(x)[0], theirs(x)[0], rtol=0, atol=1e-13)
    lengths = torch.tensor([3, 7, 1, 5])
    packed = pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
    given, last = ours(packed)
    expected, states = theirs(packed)
    torch.testing.assert_close(
        pad_packed_sequence(given, batch_first=True)[0], pad_packed_sequence(expected, batch_first=True)[0]
    )
    hidden = states[0] if kind is nn.LSTM else states
    torch.testing.assert_close(torch.stack([state[0] for state in last]), hidden)
    torch.testing.assert_close(ours(x, None, lengths)[0], pad_packed_sequence(given, batch_first=True)[0])
    torch.testing.assert_close(to_torch(ours)(x)[0], theirs(x)[0], rtol=0, atol=1e-13)


def test_torch_lacks_most_cells():
    for make in (
        partial(LSTM, peephole="diagonal"),
        partial(LSTM, coupled=True),
        partial(GRU, reset="before"),
        partial(GRU, update="z_new"),
        partial(RNN, initial_state="learned"),
    ):
        with pytest.raises(UsageError, match="torch lacks this cell"):
            to_torch(Recurrent(make, D, H))
    with pytest.raises(UsageError, match="proj_size"):
        from_torch(nn.LSTM(D, H, proj_size=2))


@pytest.mark.parametrize(
    "name", ["lstm coupled full", "gru before z_new", "rnn", "lstm diagonal", "convlstm"]
)
@pytest.mark.parametrize("bidirectional", [False, True])
def test_a_shorter_sample_gives_what_it_gives_alone(name, bidirectional):
    _, kind, options = CELLS[name]
    torch.manual_seed(0)
    layer = Recurrent(partial(kind, **options), D, H, layers=2, bidirectional=bidirectional).double()
    sides = (3, 4) if kind is ConvLSTM else ()
    x = torch.randn(B, T, D, *sides, dtype=torch.float64)
    lengths = torch.tensor([3, 7, 1, 5])
    y, last = layer(x, None, lengths)
    for b, length in enumerate(lengths.tolist()):
        alone, ended = layer(x[b : b + 1, :length])
        torch.testing.assert_close(y[b : b + 1, :length], alone)
        assert not y[b, length:].any()
        for state, own in zip(last, ended, strict=True):
            torch.testing.assert_close(tuple(part[b : b + 1] for part in state), own)


@pytest.mark.parametrize("name", ["lstm diagonal", "gru before z_old", "lstm", "convlstm"])
def test_two_halves_are_the_whole_if_the_state_is_handed_on(name):
    _, cell, x = made(name)
    layer = Recurrent(lambda *_: cell, D, H)
    x = x.transpose(0, 1)
    whole, end = layer(x)
    one, state = layer(x[:, :3])
    two, last = layer(x[:, 3:], state)
    torch.testing.assert_close(torch.cat([one, two], 1), whole)
    torch.testing.assert_close(last, end)


def test_parameters_are_those_of_the_table():
    """D = H = 128, the figures of the specification."""

    def count(make):
        return sum(p.numel() for p in make(128, 128).parameters())

    assert count(RNN) == 32_896
    assert count(LSTM) == 131_584
    assert count(partial(LSTM, peephole="diagonal")) == 131_968
    assert count(partial(LSTM, peephole="full")) == 180_736
    assert count(partial(LSTM, coupled=True)) == 98_688
    assert count(partial(LSTM, coupled=True, peephole="diagonal")) == 98_944
    assert count(partial(GRU, reset="before")) == 98_688
    assert count(GRU) == 98_816
    assert count(partial(LSTM, initial_state="learned")) == 131_584 + 256
    assert count(partial(GRU, bias=False)) == 98_304
    assert count(partial(ConvLSTM, kernel_x=3, kernel_h=5)) == 4 * 128 * (128 * 9 + 128 * 25 + 1) + 3 * 128


def test_every_gate_starts_by_itself():
    """Over all blocks at once the bound would be sqrt(6 / (D + 4 H)), and no block would be orthogonal."""
    cell = LSTM(60, 40)
    for block in cell.weight_x.chunk(4):
        assert math.sqrt(6 / 100) * 0.98 < block.abs().max() <= math.sqrt(6 / 100)
    for block in cell.weight_h.chunk(4):
        torch.testing.assert_close(block @ block.T, torch.eye(40), rtol=0, atol=1e-5)
    assert [block.unique().tolist() for block in cell.bias.chunk(4)] == [[0], [1], [0], [0]]
    coupled = LSTM(3, 4, coupled=True, forget_bias=2.5)
    assert [block.unique().tolist() for block in coupled.bias.chunk(3)] == [[2.5], [0], [0]]


def test_taps_of_zeros_receive_the_gradient_of_every_state():
    """dL/dh_t = W_h^T (dL/dh_{t+1} (1 - h_{t+1}^2)) + the loss's own part, worked out backwards."""
    _, cell, x = made("rnn")
    taps = [torch.zeros(B, H, dtype=torch.float64, requires_grad=True) for _ in range(T + 1)]
    y, _ = scan(cell, x, taps=taps)
    pull = torch.randn(T, B, H, dtype=torch.float64)
    found = torch.autograd.grad((y * pull).sum(), taps)
    expected, states = torch.zeros(B, H, dtype=torch.float64), y.detach()
    for t in range(T, -1, -1):
        own = pull[t - 1] if t else 0
        if t < T:
            expected = (expected * (1 - states[t] ** 2)) @ cell.weight_h.detach()
        expected = expected + own
        torch.testing.assert_close(found[t], expected)


def test_a_chunk_of_all_steps_truncates_nothing_and_one_of_one_step_everything():
    _, cell, x = made("gru before z_old", start="zero")
    x.requires_grad_()

    def gradient(chunk):
        return torch.autograd.grad(scan(cell, x, chunk=chunk)[0][-1].sum(), x)[0]

    torch.testing.assert_close(gradient(T), gradient(None))
    assert [bool(step.any()) for step in gradient(1)] == [False] * (T - 1) + [True]
    assert [bool(step.any()) for step in gradient(3)] == [False] * 6 + [True]  # 0 to 2, 3 to 5, 6


def test_dropout_acts_between_layers_alone():
    one, two = (Recurrent(RNN, D, H, layers=n, dropout=0.9) for n in (1, 2))
    x = torch.randn(B, T, D)
    assert torch.equal(one(x)[0], one(x)[0])
    assert not torch.equal(two(x)[0], two(x)[0])
    assert torch.equal(two.eval()(x)[0], two(x)[0])


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: RNN(2, 3, activation="sine"), UsageError, "tanh or relu, got 'sine'"),
        (lambda: LSTM(2, 3, peephole="both"), UsageError, "none, diagonal or full, got 'both'"),
        (lambda: GRU(2, 3, reset="never"), UsageError, "before or after"),
        (lambda: ConvLSTM(2, 3, kernel_x=4), UsageError, "odd side"),
        (lambda: ConvLSTM(2, 3, peephole="full"), UsageError, r"full with sides=\(height, width\)"),
        (lambda: RNN(2, 3, initial_state="random"), UsageError, "zero or learned, got 'random'"),
        (lambda: Recurrent(RNN, 2, 3, layers=0), UsageError, "at least 1 layer"),
        (lambda: Recurrent(RNN, 2, 3)(torch.zeros(4, 0, 2)), ShapeError, "at least one step"),
        (lambda: Recurrent(RNN, 2, 3)(torch.zeros(4, 2)), ShapeError, r"expected \(B, T, D\)"),
        (lambda: Recurrent(RNN, 2, 3)(torch.zeros(1, 5, 2), []), ShapeError, "one state for each of 1"),
        (lambda: scan(RNN(2, 3), torch.zeros(5, 1, 2), taps=[0, 0]), ShapeError, "expected 6 taps"),
        (lambda: scan(RNN(2, 3), torch.zeros(5, 1, 2), chunk=0), UsageError, "at least 1 step, got 0"),
    ],
)
def test_wrong_use_is_refused(call, error, words):
    with pytest.raises(error, match=words):
        call()


@pytest.mark.parametrize(
    ("lengths", "words"),
    [
        ([2, 6], "sample 1 has a length of 6; expected 1 to 5"),
        ([0, 2], "sample 0 has a length of 0"),
        ([2, -1], "sample 1 has a length of -1"),
        ([2], "2 whole numbers"),
        ([2.0, 3.0], "whole numbers, got torch.float32"),
    ],
)
def test_wrong_lengths_are_refused_with_the_sample(lengths, words):
    with pytest.raises(ShapeError, match=words):
        Recurrent(RNN, 2, 3)(torch.zeros(2, 5, 2), None, torch.tensor(lengths))

"""What every network for sequences keeps, whatever its paper; and the numbers that papers print."""

import pytest
import torch
from sequences_made import FRAMES, NAMES, OPTIONS, STEPS
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from concord import zoo
from concord.cost.count import count
from concord.errors import ShapeError, UsageError
from concord.zoo.char_rnn import char_gru, char_lstm, char_rnn
from concord.zoo.lstm import lstm
from concord.zoo.tcn import tcn_adding, tcn_copy, tcn_mnist


def sample(entry, batch, steps=None, device="cpu"):
    """A batch of the entry's kind of sequences."""
    if not entry.example:
        length, symbols = entry.text
        return torch.randint(symbols, (batch, steps or length), device=device)
    length, *sizes = entry.example
    return torch.randn(batch, steps or length, *sizes, device=device)


@pytest.fixture
def entry(request):
    return zoo.find(request.param)


@pytest.fixture
def network(entry):
    torch.manual_seed(0)
    return entry.build(**OPTIONS[entry.name])


each = pytest.mark.parametrize("entry", NAMES, indirect=True)
stepwise = pytest.mark.parametrize("entry", STEPS, indirect=True)


@each
def test_parameters_and_products_are_the_stated_ones_and_those_of_torchs_counter(entry):
    steps = min(50, entry.example[0]) if entry.example else 50
    with torch.device("meta"):
        network = entry.build().eval()
    x = sample(entry, 1, steps, "meta")
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network(x)
    cost = count(network, x)
    assert cost.parameters == entry.parameters
    assert cost.macs == counter.get_total_flops() / 2
    assert cost.without_rule == ()


@each
def test_every_parameter_gets_a_gradient(entry, network):
    network(sample(entry, 3, 5)).square().sum().backward()
    assert [name for name, p in network.named_parameters() if p.numel() and p.grad is None] == []
    still = [name for name, p in network.named_parameters() if p.numel() and not p.grad.count_nonzero()]
    assert still == []


@each
def test_samples_do_not_see_each_other(entry, network):
    x = sample(entry, 3, 6)
    whole, alone = network.eval()(x), network(x[1:2])
    torch.testing.assert_close(whole[1:2], alone, rtol=1e-4, atol=1e-5)


@each
def test_a_state_dict_goes_round(entry, network):
    other, x = entry.build(**OPTIONS[entry.name]).eval(), sample(entry, 2, 6)
    assert not torch.equal(other(x), network.eval()(x))
    other.load_state_dict(network.state_dict())
    assert torch.equal(other(x), network(x))


@stepwise
def test_what_lies_behind_the_end_of_a_sequence_changes_nothing(entry, network):
    x, lengths = sample(entry, 3, 7), torch.tensor([7, 2, 4])
    given = network.eval()(x, lengths)
    changed = x.clone()
    changed[1, 2:], changed[2, 4:] = x[0, 2:].flip(0), x[0, 4:]
    for b, length in enumerate(lengths.tolist()):
        alone = network(x[b : b + 1, :length])
        there = given[b : b + 1, :length] if given.ndim == 3 else given[b : b + 1]
        torch.testing.assert_close(there, alone, rtol=1e-4, atol=1e-5)
    again = network(changed, lengths)
    for b, length in enumerate(lengths.tolist()):
        a, z = (y[b, :length] if y.ndim == 3 else y[b] for y in (given, again))
        torch.testing.assert_close(a, z)


@stepwise
def test_other_inputs_and_classes(entry):
    network = entry.build(channels=3, classes=4, **OPTIONS[entry.name]).eval()
    x = torch.randint(3, (2, 6)) if not entry.example else torch.randn(2, 6, 3)
    assert network(x).shape in ((2, 4), (2, 6, 4))
    wrong = torch.full((2, 6), 3) if not entry.example else torch.randn(2, 6, 2)
    with pytest.raises(ShapeError, match=r"symbols from 0 to 2, got 3 to 3|expected numbers \(B, T, 3\)"):
        network(wrong)
    for bad in (x[:, :0], x[0], x.float().int()):
        with pytest.raises(ShapeError, match="expected"):
            network(bad)


@stepwise
def test_wrong_lengths_are_refused(entry, network):
    x = sample(entry, 2, 5)
    for lengths in ([0, 5], [5, 6], [-1, 5], [5]):
        with pytest.raises(ShapeError, match=r"a length of|2 whole numbers"):
            network(x, torch.tensor(lengths))


@pytest.mark.parametrize("entry", FRAMES, indirect=True)
def test_frames_are_drawn_from_those_before(entry, network):
    x = sample(entry, 2, 4)
    assert network(x).shape == (2, 3, *x.shape[2:])
    changed = x.clone()
    changed[0, 0] += 1
    moved = (network(changed) - network(x)).abs().amax((1, 2, 3, 4))
    assert moved[0] > 0
    assert moved[1] == 0
    for bad in (x[:, :, :, :63], x[:, :0], x[0], x.expand(-1, -1, 2, -1, -1)):
        with pytest.raises(ShapeError, match=r"expected frames \(B, T, 1"):
            network(bad)


@pytest.mark.parametrize(
    ("build", "sizes", "printed"),
    [
        (tcn_copy, {"kernel": 6, "levels": 9}, 10_750),  # Bai et al. 2018: 10K
        (
            tcn_adding,
            {"kernel": 6, "levels": 7, "width": 27},
            58_051,
        ),  # the paper's 70K is not of these sizes
        (tcn_mnist, {"kernel": 6, "width": 20}, 37_010),
        (
            lstm,
            {"channels": 2, "classes": 1, "hidden": 77, "layers": 2},
            4 * 77 * (2 + 77 + 1 + 2 * 77 + 1) + 78,
        ),
        (char_lstm, {"embedded": 9, "hidden": 7, "layers": 1}, 65 * 9 + 4 * 7 * (9 + 7 + 1) + 65 * 8),
        (char_gru, {"embedded": 9, "hidden": 7, "layers": 1}, 65 * 9 + 3 * 7 * (9 + 7 + 1) + 7 + 65 * 8),
        (char_rnn, {"embedded": 9, "hidden": 7, "layers": 1}, 65 * 9 + 7 * (9 + 7 + 1) + 65 * 8),
    ],
)
def test_other_sizes_have_the_parameters_of_their_formulas(build, sizes, printed):
    assert sum(p.numel() for p in build(**sizes).parameters()) == printed


@pytest.mark.parametrize(("build", "seen"), [(tcn_mnist, 3061), (tcn_adding, 3571)])
def test_a_tcn_sees_as_far_as_its_formula_says(build, seen):
    """1 + 2 (k - 1) (2^levels - 1) steps."""
    network = build(levels=3)
    kernel = network.blocks[0].path[0].kernel_size[0]
    assert count(build(), (4000, network.channels)).receptive_field.size == (seen,)
    assert count(network, (200, network.channels)).receptive_field.size == (1 + 2 * (kernel - 1) * 7,)


def test_weights_of_the_paper_start_small_and_those_of_the_code_do_not():
    """locuslab/TCN#1: filled in place under weight normalisation, the start is lost."""
    paper, code = tcn_mnist(width=60), tcn_mnist(width=60, released=1)
    assert paper.blocks[3].path[0].weight.std().item() == pytest.approx(0.01, rel=0.05)
    assert code.blocks[3].path[0].weight.std() > 0.02
    assert code.blocks[0].shortcut.weight.std() < 0.02
    assert isinstance(paper.blocks[0].path[2], nn.Dropout1d)
    assert type(code.blocks[0].path[2]) is nn.Dropout


def test_wrong_sizes_are_refused():
    with pytest.raises(UsageError, match="at least 1"):
        tcn_mnist(levels=0)
    with pytest.raises(UsageError, match="at least 1"):
        zoo.find("convlstm_256").build(width=0)
    with pytest.raises(UsageError, match="at least 1"):
        zoo.find("fc_lstm_2048_2048").build(side=0)


def test_a_fully_connected_forecaster_has_frames_of_its_own_size():
    network = zoo.find("fc_lstm_2048_2048").build(width=3, side=6, ahead=2)
    assert network(torch.rand(2, 4, 1, 6, 6)).shape == (2, 2, 1, 6, 6)
    with pytest.raises(ShapeError, match=r"expected frames \(B, T, 1, 6, 6\), got \(2, 4, 1, 8, 8\)"):
        network(torch.rand(2, 4, 1, 8, 8))

"""The state carried from batch to batch, beside one pass over the whole sequence and beside ``scan``."""

from functools import partial

import pytest
import torch
from torch import nn

from concord.errors import ShapeError, UsageError
from concord.layers.recurrent.carried import Carried
from concord.layers.recurrent.gru import GRU
from concord.layers.recurrent.lstm import LSTM
from concord.layers.recurrent.recurrent import Recurrent
from concord.layers.recurrent.rnn import RNN
from concord.layers.recurrent.scan import scan
from concord.zoo.char_rnn import char_gru, char_lstm, char_rnn
from concord.zoo.tcn import SymbolTCN, char_tcn

CELLS = {
    "rnn": RNN,
    "lstm": LSTM,
    "lstm diagonal": partial(LSTM, peephole="diagonal"),
    "lstm learned": partial(LSTM, initial_state="learned"),
    "gru before learned": partial(GRU, reset="before", initial_state="learned"),
}
NETWORKS = {
    "char_lstm": lambda: char_lstm(5, 5, hidden=4, layers=2),
    "char_gru": lambda: char_gru(5, 5, embedded=3, hidden=4, layers=1),
    "char_rnn": lambda: char_rnn(5, 5, embedded=3, hidden=4, layers=1),
    "char_tcn": lambda: char_tcn(5, 5, width=4, embedded=3, levels=3, dropout=0),
    "char_tcn of kernel 1": lambda: char_tcn(5, 5, width=4, embedded=3, levels=2, kernel=1, dropout=0),
}
YES, NO = torch.ones(3, dtype=torch.bool), torch.zeros(3, dtype=torch.bool)


class Numbers(nn.Module):
    """One layer on numbers (B, T, 2), every parameter drawn."""

    def __init__(self, make):
        super().__init__()
        torch.manual_seed(0)
        self.body = Recurrent(make, 2, 4)
        for parameter in self.parameters():
            nn.init.normal_(parameter, 0, 0.7)

    def forward(self, x):
        return self.body(x)[0]

    def initial(self, batch):
        return self.body.initial(batch)

    def stream(self, x, state):
        return self.body(x, state)


@pytest.fixture(params=NETWORKS)
def network(request):
    torch.manual_seed(0)
    made = NETWORKS[request.param]().double()
    for parameter in made.parameters():
        nn.init.normal_(parameter, 0, 0.5)
    return made


def symbols(steps, batch=3):
    return torch.randint(5, (batch, steps), generator=torch.Generator().manual_seed(1))


def gradients(net):
    return [p.grad.clone() for p in net.parameters()]


def test_pieces_of_a_stream_give_what_the_whole_gives(network):
    x, carried = symbols(30), Carried(network)
    whole = network(x)
    for sizes in ([30], [10, 10, 10], [1, 2, 27]):
        pieces = x.split(sizes, 1)
        given = [carried(piece, NO if i else YES) for i, piece in enumerate(pieces)]
        torch.testing.assert_close(torch.cat(given, 1), whole, rtol=1e-12, atol=1e-12)


def test_later_symbols_change_no_earlier_logits(network):
    x, carried = symbols(12), Carried(network)
    carried(x[:, :6], YES)
    before = carried(x[:, 6:], NO)
    changed = x.clone()
    changed[:, 9:] = (changed[:, 9:] + 1) % 5
    carried(x[:, :6], YES)
    after = carried(changed[:, 6:], NO)
    assert torch.equal(before[:, :3], after[:, :3])
    assert not torch.equal(before[:, 3:], after[:, 3:])


def test_a_piece_as_long_as_the_sequence_is_full_back_propagation(network):
    x, weights = symbols(20), torch.randn(3, 20, 5, dtype=torch.float64)
    (network(x) * weights).sum().backward()
    full = gradients(network)
    network.zero_grad()
    (Carried(network)(x, YES) * weights).sum().backward()
    assert all(map(torch.equal, gradients(network), full))


@pytest.mark.parametrize("name", CELLS)
def test_gradients_of_two_pieces_are_those_of_a_scan_that_is_cut_between_them(name):
    net = Numbers(CELLS[name]).double()
    x, weights = torch.randn(3, 14, 2, dtype=torch.float64), torch.randn(3, 14, 4, dtype=torch.float64)
    y, _ = scan(net.body.cells[0], x.transpose(0, 1), chunk=7)
    (y.transpose(0, 1) * weights).sum().backward()
    cut = gradients(net)
    net.zero_grad()
    (net(x) * weights).sum().backward()
    assert not all(map(torch.allclose, gradients(net), cut))  # the whole reaches farther back
    net.zero_grad()
    carried = Carried(net)
    for begins, part in ((YES, slice(0, 7)), (NO, slice(7, 14))):
        (carried(x[:, part], begins) * weights[:, part]).sum().backward()
        assert not carried.kept.requires_grad
    for own, other in zip(gradients(net), cut, strict=True):
        torch.testing.assert_close(own, other, rtol=1e-12, atol=1e-12)


def test_a_stream_that_begins_starts_over_and_the_others_continue(network):
    x, carried = symbols(16), Carried(network)
    whole = network(x)
    carried(x[:, :8], YES)
    given = carried(x[:, 8:], torch.tensor([False, True, False]))
    torch.testing.assert_close(given[[0, 2]], whole[[0, 2], 8:])
    torch.testing.assert_close(given[1], network(x[1:2, 8:])[0])
    memory = not isinstance(network, SymbolTCN) or network.tcn.blocks[0].path[0].past
    assert torch.allclose(given[1], whole[1, 8:], rtol=0, atol=1e-12) != memory


def test_neither_evaluation_nor_a_plain_call_moves_the_state_of_the_training(network):
    x, carried = symbols(16), Carried(network)
    carried(x[:, :8], YES)
    kept = carried.kept.clone()
    carried.eval()
    carried(symbols(5, 7), torch.ones(7, dtype=torch.bool))
    torch.testing.assert_close(carried(x), network(x))
    carried.train()
    carried(symbols(5, 2))
    assert torch.equal(carried.kept, kept)
    torch.testing.assert_close(carried(x[:, 8:], NO), network(x)[:, 8:])


def test_state_dicts_hold_the_networks_tensors_and_no_others(network):
    carried = Carried(network)
    carried(symbols(4), YES)
    assert {key.removeprefix("network.") for key in carried.state_dict()} == set(network.state_dict())


def test_streams_that_were_not_kept_cannot_continue():
    carried = Carried(char_lstm(5, 5, hidden=4))
    with pytest.raises(ShapeError, match="3 streams continue, where the state of 0 is kept"):
        carried(symbols(4), NO)
    carried(symbols(4), YES)
    with pytest.raises(ShapeError, match="2 streams continue, where the state of 3"):
        carried(symbols(4, 2), NO[:2])
    carried(symbols(4, 2), YES[:2])  # begins, so that another number is fine


@pytest.mark.parametrize("begins", [torch.ones(3), torch.ones(2, dtype=torch.bool), YES[:, None]])
def test_begins_of_another_kind_are_refused(begins):
    with pytest.raises(ShapeError, match="begins must be true or false for each of 3 streams"):
        Carried(char_lstm(5, 5, hidden=4))(symbols(4), begins)


def test_a_network_that_cannot_read_in_pieces_is_refused():
    with pytest.raises(UsageError, match="Linear cannot read a stream in pieces"):
        Carried(nn.Linear(2, 2))

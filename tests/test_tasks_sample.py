"""Sampling: symbols beside the distribution that they are drawn from, and beside greedy choices."""

from itertools import pairwise

import pytest
import torch
from scipy.stats import chisquare
from torch import nn

from concord.errors import ShapeError, UsageError
from concord.layers.recurrent.carried import Carried
from concord.tasks.sample import sample
from concord.zoo.char_rnn import char_lstm
from concord.zoo.tcn import char_tcn

P = torch.tensor([[0.1, 0.6, 0.3], [0.5, 0.0, 0.5], [0.25, 0.25, 0.5]])  # of the next symbol behind each


class Bigrams(nn.Module):
    """ln P of the next symbol, which depends on the last one alone; dropout shows the mode."""

    def __init__(self):
        super().__init__()
        self.table = nn.Parameter(P.log().clamp(min=-1e4))
        self.dropout = nn.Dropout(0.9)
        self.widths = []

    def forward(self, x):
        self.widths.append(x.shape[1])
        return self.dropout(self.table[x])


class Sums(nn.Module):
    """The next symbol is the sum of all before it modulo 5."""

    def forward(self, x):
        return 9.0 * nn.functional.one_hot(x.cumsum(1) % 5, 5)


class SumsInPieces(Sums):
    """The same, which keeps the sum."""

    def initial(self, batch):
        return torch.zeros(batch, 1, dtype=torch.int64)

    def stream(self, x, state):
        assert x.shape[1] == 1 or not state.any(), "a symbol was read again"
        before = state.expand(len(x), 1)
        return self(torch.cat([before, x], 1))[:, 1:], before + x.sum(1, keepdim=True)


def drawn(member, prompt=(0,), steps=40, seed=0, **options):
    generator = torch.Generator().manual_seed(seed)
    return sample(member, torch.tensor(prompt), steps, generator=generator, **options).tolist()


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_draws_have_the_distribution_of_the_table_at_that_temperature(temperature):
    symbols = [0, *drawn(Bigrams(), steps=6000, seed=1, context=1, temperature=temperature)]
    pairs = list(pairwise(symbols))
    for before, odds in enumerate(P.double() ** (1 / temperature)):
        seen = torch.tensor([pairs.count((before, k)) for k in range(3)]).double()
        expected = seen.sum() * odds / odds.sum()
        there = odds > 0
        assert not seen[~there].any()
        assert chisquare(seen[there].numpy(), expected[there].numpy()).pvalue > 0.001


@pytest.mark.parametrize("temperature", [1e-3, 1e-300])
def test_near_a_temperature_of_0_the_likeliest_symbol_comes(temperature):
    """Behind 0 comes 1 (0.6); behind 1 are 0 and 2 alike; behind 2 comes 2 (0.5)."""
    symbols = [2, *drawn(Bigrams(), prompt=[2], temperature=temperature)]
    assert set(symbols) == {2}
    assert drawn(Bigrams(), steps=1, temperature=temperature) == [1]
    assert drawn(Bigrams(), steps=1, top=1) == [1]


def test_top_leaves_the_likeliest_with_their_odds():
    after = [drawn(Bigrams(), steps=1, seed=seed, top=2)[0] for seed in range(900)]
    assert chisquare([after.count(1), after.count(2)], [600, 300]).pvalue > 0.001


def test_equal_seeds_give_equal_symbols_and_others_others():
    assert drawn(Bigrams(), seed=3) == drawn(Bigrams(), seed=3) != drawn(Bigrams(), seed=4)
    assert len(drawn(Bigrams(), steps=7)) == 7


def test_what_is_read_in_pieces_continues_as_what_is_read_again_does():
    """By hand: behind 1, 3 comes 4, then 1 + 3 + 4 = 8 = 3, then 11 = 1, then 12 = 2."""
    assert drawn(Sums(), [1, 3], 4, temperature=0.01) == [4, 3, 1, 2]
    assert drawn(SumsInPieces(), [1, 3], 4, temperature=0.01) == [4, 3, 1, 2]
    assert drawn(SumsInPieces(), [1, 3], 60) == drawn(Sums(), [1, 3], 60)
    assert drawn(Sums(), [1, 3], 4, temperature=0.01, context=2) == [4, 2, 1, 3]


def test_a_member_sees_no_more_than_its_context_and_keeps_its_mode():
    member = Bigrams()
    drawn(member, [0, 1, 2], 3, context=2)
    drawn(member, [0, 1, 2], 3)
    assert member.widths == [2, 2, 2, 3, 4, 5]
    member.dropout.eval()
    drawn(member)
    assert member.training
    assert not member.dropout.training


@pytest.mark.parametrize(
    ("prompt", "options", "message"),
    [
        ([], {}, "prompt is empty"),
        ([0], {"temperature": 0.0}, "above 0, got 0.0"),
        ([0], {"temperature": -1.0}, "above 0"),
        ([0], {"temperature": float("nan")}, "above 0"),
        ([0], {"steps": 0}, "steps is at least 1"),
        ([0], {"top": 0}, "top is at least 1"),
        ([0], {"context": 0}, "context is at least 1"),
        ([0, -1], {}, "symbols from 0, got -1"),
        ([0, 3], {}, "symbols 0 to 3"),
        ([[0]], {}, r"\(T,\)"),
        ([0.5], {}, r"\(T,\)"),
    ],
)
def test_wrong_inputs_are_refused(prompt, options, message):
    given = {"steps": 2, **options}
    tensor = torch.tensor(prompt, dtype=torch.int64 if prompt == [] else None)
    with pytest.raises(UsageError, match=message):
        sample(Bigrams(), tensor, **given, generator=torch.Generator())


def test_outputs_that_are_no_logits_are_refused():
    class Other(nn.Module):
        def __init__(self, give):
            super().__init__()
            self.give = give

        def forward(self, x):
            return self.give(x)

    with pytest.raises(ShapeError, match=r"expected logits \(1, 1, K\) for 1 symbols, got shape \(1, 3\)"):
        drawn(Other(lambda x: torch.zeros(1, 3)))
    with pytest.raises(ShapeError, match="tuple"):
        drawn(Other(lambda x: (x, x)))
    with pytest.raises(ShapeError, match="from 0 to 2, got 4"):
        drawn(Other(lambda x: torch.zeros(*x.shape, 3)), prompt=[4])
    with pytest.raises(UsageError, match="not finite"):
        drawn(Other(lambda x: torch.full((*x.shape, 3), torch.nan)))


class Whole(nn.Module):
    """A network without what it would need to read in pieces."""

    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, x):
        return self.network(x)


@pytest.mark.parametrize("build", [char_lstm, char_tcn])
def test_networks_of_the_zoo_draw_in_pieces_what_they_draw_from_the_whole(build):
    torch.manual_seed(0)
    network = build(5, 5, dropout=50, **({"hidden": 6} if build is char_lstm else {"width": 6})).double()
    for parameter in network.parameters():
        nn.init.normal_(parameter, 0, 0.7)
    expected = drawn(Whole(network), [1, 3, 2], 50, temperature=5)
    for streaming in (network, Carried(network)):
        assert drawn(streaming, [1, 3, 2], 50, temperature=5) == expected
    assert len(set(expected)) > 2

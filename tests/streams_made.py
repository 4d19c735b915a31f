"""Members that carry a state over two streams of symbols, and an ensemble of them."""

import torch

import concord
from concord.data.sequences.streams import Streams
from concord.layers.recurrent.carried import Carried
from concord.zoo.char_rnn import char_lstm
from concord.zoo.tcn import char_tcn

ALPHABET = tuple("abcde")
FIT = {"epochs": 2, "batch_size": 4, "shuffle": False, "schedule": None}
WALK = torch.randint(2, (900,), generator=torch.Generator().manual_seed(0)).cumsum(0) % 5
TRAIN, TEST = Streams(WALK[:600], ALPHABET, 9, 4), Streams(WALK[600:], ALPHABET, 7, 3)


def members(dropout=20):
    torch.manual_seed(0)
    return {
        "recurrent": Carried(char_lstm(5, 5, hidden=6, layers=2, dropout=dropout)),
        "convolutional": Carried(char_tcn(5, 5, width=5, embedded=4, levels=2, dropout=dropout)),
    }


def ensemble(made=None, **options):
    options = {"consensus": "l2", "weight": 0.05} if made is None else options
    return concord.Ensemble(made or members(), task="language", **options)

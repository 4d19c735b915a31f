"""A bidirectional LSTM that names the class of every step.

Source: A. Graves, J. Schmidhuber, "Framewise phoneme classification with bidirectional LSTM and other neural
network architectures", Neural Networks 18, 2005, section 3: 26 acoustic features, 61 phonemes, 93 units each
way. Departure: one bias for each gate and peepholes on the diagonal, as their LSTM had, but a softmax
layer without the input's own connections.
"""

from functools import partial

from torch import nn

from concord.layers.recurrent.heads import Reader
from concord.layers.recurrent.lstm import LSTM
from concord.layers.recurrent.recurrent import Recurrent
from concord.zoo.registry import register


@register(
    example=(300, 26),
    parameters=101_245,
    source="Graves, Schmidhuber 2005: bidirectional LSTM, 93 units each way",
)
def blstm_segments(channels: int = 26, classes: int = 61, *, hidden: int = 93, layers: int = 1) -> nn.Module:
    """(B, T, D) -> (B, T, K): every step is named with what comes before and behind it.

    Parameters: 2 (4 H (D + H + 1) + 3 H) for D = 26, H = 93, then K (2 H + 1) for K = 61.
    """
    make = partial(LSTM, peephole="diagonal")
    body = Recurrent(make, channels, hidden, layers=layers, bidirectional=True)
    return Reader(body, channels, 2 * hidden, classes, every=True)

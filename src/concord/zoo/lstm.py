"""Long short-term memory as a classifier of sequences.

Sources: S. Hochreiter, J. Schmidhuber, "Long short-term memory", Neural Computation 9, 1997; F. Gers,
J. Schmidhuber, F. Cummins, "Learning to forget", Neural Computation 12, 2000 (the forget gate); its bias
starts at 1 (R. Jozefowicz et al., ICML 2015). A dense layer on the last step answers for the whole sequence.
"""

from functools import partial

from torch import nn

from concord.layers.recurrent.heads import Reader
from concord.layers.recurrent.lstm import LSTM
from concord.layers.recurrent.recurrent import Recurrent
from concord.zoo.registry import register


@register(example=(784, 1), parameters=69_950, source="Bai et al. 2018, table 3: LSTM of 130 units for MNIST")
def lstm(channels: int = 1, classes: int = 10, *, hidden: int = 130, layers: int = 1) -> nn.Module:
    """Sequences of ``channels`` numbers per step; the last layer's last step decides.

    Parameters: 4 H (D + H + 1) for D = 1, H = 130, then 10 (H + 1).
    """
    return Reader(Recurrent(LSTM, channels, hidden, layers=layers), channels, hidden, classes)


@register(
    example=(784, 1), parameters=70_340, source="Gers, Schmidhuber 2000: peepholes; 130 units for MNIST"
)
def peephole_lstm(channels: int = 1, classes: int = 10, *, hidden: int = 130, layers: int = 1) -> nn.Module:
    """The same with diagonal peepholes, 3 H numbers more for each layer."""
    make = partial(LSTM, peephole="diagonal")
    return Reader(Recurrent(make, channels, hidden, layers=layers), channels, hidden, classes)

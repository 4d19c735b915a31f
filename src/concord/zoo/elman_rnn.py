"""The simple recurrent network as a classifier of sequences.

Source: J. Elman, "Finding structure in time", Cognitive Science 14, 1990. Departures: tanh for his logistic
units, as Kalkan has it; a dense layer on the last step answers once for the whole sequence.
"""

from torch import nn

from concord.layers.recurrent.heads import Reader
from concord.layers.recurrent.recurrent import Recurrent
from concord.layers.recurrent.rnn import RNN
from concord.zoo.registry import register


@register(
    example=(784, 1), parameters=17_930, source="Elman 1990; pixels of MNIST one by one, as Bai et al. 2018"
)
def rnn(channels: int = 1, classes: int = 10, *, hidden: int = 128, layers: int = 1) -> nn.Module:
    """Sequences of ``channels`` numbers per step; the last layer's last step decides.

    Parameters: H (D + H + 1) for D = 1, H = 128, then 10 (H + 1).
    """
    return Reader(Recurrent(RNN, channels, hidden, layers=layers), channels, hidden, classes)

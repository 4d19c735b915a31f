"""The gated recurrent unit as a classifier of sequences.

Source: K. Cho et al., "Learning phrase representations using RNN encoder-decoder for statistical machine
translation", EMNLP 2014, arXiv:1406.1078: version 3 resets the state before its product (``gru_before``),
versions 1 and 2, cuDNN and torch behind it (``gru``). A dense layer on the last step answers for all.
"""

from functools import partial

from torch import nn

from concord.layers.recurrent.gru import GRU
from concord.layers.recurrent.heads import Reader
from concord.layers.recurrent.recurrent import Recurrent
from concord.zoo.registry import register


@register(
    example=(784, 1), parameters=70_060, source="Cho et al. 2014, versions 1 and 2: reset behind the product"
)
def gru(channels: int = 1, classes: int = 10, *, hidden: int = 150, layers: int = 1) -> nn.Module:
    """Sequences of ``channels`` numbers per step; the last layer's last step decides.

    Parameters: 3 H (D + H + 1) + H for D = 1, H = 150, then 10 (H + 1).
    """
    return Reader(Recurrent(GRU, channels, hidden, layers=layers), channels, hidden, classes)


@register(
    example=(784, 1),
    parameters=69_910,
    source="Cho et al. 2014, version 3, and Kalkan: reset before the product",
)
def gru_before(channels: int = 1, classes: int = 10, *, hidden: int = 150, layers: int = 1) -> nn.Module:
    """The same with the reset before the product and the update as Kalkan writes it; H parameters less."""
    make = partial(GRU, reset="before", update="z_new")
    return Reader(Recurrent(make, channels, hidden, layers=layers), channels, hidden, classes)

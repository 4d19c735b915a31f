"""Language models of characters: recurrent layers predict the next symbol of a text.

Source: A. Graves, "Generating sequences with recurrent neural networks", 2013, arXiv:1308.0850, section 3:
several layers, one-hot symbols, a softmax over the next one. Departures: an embedding in place of one-hot
columns, which is the same product; no peepholes and no connections past a layer. The same around other cells:
T. Mikolov et al., "Recurrent neural network based language model", Interspeech 2010 (Elman's); J. Chung et
al., "Empirical evaluation of gated recurrent neural networks on sequence modeling", 2014 (GRU).
"""

from collections.abc import Callable

from torch import Tensor, nn

from concord.layers.recurrent.gru import GRU
from concord.layers.recurrent.heads import require_symbols
from concord.layers.recurrent.lstm import LSTM
from concord.layers.recurrent.recurrent import Recurrent
from concord.layers.recurrent.rnn import RNN
from concord.layers.recurrent.scan import State
from concord.zoo.registry import register


class CharacterModel(nn.Module):
    """Logits of the next symbol at every step.

    Shape: (B, T) symbols, lengths (B,) -> (B, T, K)
    """

    def __init__(
        self,
        cell: Callable[[int, int], nn.Module],
        symbols: int,
        classes: int,
        *,
        embedded: int,
        hidden: int,
        layers: int,
        dropout: float,
    ) -> None:
        super().__init__()
        self.symbols = symbols
        self.embedding = nn.Embedding(symbols, embedded)
        self.body = Recurrent(cell, embedded, hidden, layers=layers, dropout=dropout)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(hidden, classes)

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        require_symbols(x, self.symbols)
        y, _ = self.body(self.dropout(self.embedding(x)), None, lengths)
        return self.head(self.dropout(y))

    def initial(self, batch: int) -> list[State]:
        """What ``stream`` takes before the first symbol."""
        return self.body.initial(batch)

    def stream(self, x: Tensor, state: list[State]) -> tuple[Tensor, list[State]]:
        """Logits for a piece that follows others, and the state behind it. Shape: (B, T) -> (B, T, K)"""
        require_symbols(x, self.symbols)
        y, after = self.body(self.dropout(self.embedding(x)), state)
        return self.head(self.dropout(y)), after


@register(text=(128, 65), parameters=296_001, source="Mikolov 2010: Elman's cells, over characters")
def char_rnn(
    channels: int = 65,
    classes: int = 65,
    *,
    embedded: int = 0,
    hidden: int = 256,
    layers: int = 2,
    dropout: int = 0,
) -> nn.Module:
    """Sizes as those of ``char_lstm``.

    Parameters: V E + L H (2 H + 1) + K (H + 1) for V = K = 65, E = H = 256, L = 2.
    """
    return _model(RNN, channels, classes, embedded, hidden, layers, dropout)


@register(text=(128, 65), parameters=821_825, source="Chung 2014: layers of GRU, over characters")
def char_gru(
    channels: int = 65,
    classes: int = 65,
    *,
    embedded: int = 0,
    hidden: int = 256,
    layers: int = 2,
    dropout: int = 0,
) -> nn.Module:
    """Sizes as those of ``char_lstm``; the reset gate acts behind the product, as torch's kernel has it.

    Parameters: V E + L (3 H (2 H + 1) + H) + K (H + 1) for V = K = 65, E = H = 256, L = 2.
    """
    return _model(GRU, channels, classes, embedded, hidden, layers, dropout)


@register(text=(128, 65), parameters=1_083_969, source="Graves 2013: layers of LSTM over characters")
def char_lstm(
    channels: int = 65,
    classes: int = 65,
    *,
    embedded: int = 0,
    hidden: int = 256,
    layers: int = 2,
    dropout: int = 0,
) -> nn.Module:
    """``channels`` is the number of symbols, which are ``embedded`` in as many numbers, 0: in ``hidden``.

    ``dropout`` in percent, on what each layer reads and gives.

    Parameters: V E + L 4 H (2 H + 1) + K (H + 1) for V = K = 65, E = H = 256, L = 2.
    """
    return _model(LSTM, channels, classes, embedded, hidden, layers, dropout)


def _model(
    cell: Callable[[int, int], nn.Module],
    symbols: int,
    classes: int,
    embedded: int,
    hidden: int,
    layers: int,
    dropout: int,
) -> CharacterModel:
    return CharacterModel(
        cell,
        symbols,
        classes,
        embedded=embedded or hidden,
        hidden=hidden,
        layers=layers,
        dropout=dropout / 100,
    )

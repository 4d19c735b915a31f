"""A language model of characters: an LSTM predicts the next symbol of a text.

Source: A. Graves, "Generating sequences with recurrent neural networks", 2013, arXiv:1308.0850, section 3:
several layers, one-hot symbols, a softmax over the next one. Departures: an embedding in place of one-hot
columns, which is the same product; no peepholes and no connections past a layer.
"""

from torch import Tensor, nn

from concord.layers.recurrent.heads import require_symbols
from concord.layers.recurrent.lstm import LSTM
from concord.layers.recurrent.recurrent import Recurrent
from concord.layers.recurrent.scan import State
from concord.zoo.registry import register


class CharacterModel(nn.Module):
    """Logits of the next symbol at every step.

    Shape: (B, T) symbols, lengths (B,) -> (B, T, K)
    """

    def __init__(self, symbols: int, classes: int, hidden: int, layers: int, dropout: float) -> None:
        super().__init__()
        self.symbols = symbols
        self.embedding = nn.Embedding(symbols, hidden)
        self.body = Recurrent(LSTM, hidden, hidden, layers=layers, dropout=dropout)
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


@register(text=(128, 65), parameters=1_083_969, source="Graves 2013: layers of LSTM over characters")
def char_lstm(
    channels: int = 65, classes: int = 65, *, hidden: int = 256, layers: int = 2, dropout: int = 0
) -> nn.Module:
    """``channels`` is the number of symbols; ``dropout`` in percent, on what each layer reads and gives.

    Parameters: V E + L 4 H (2 H + 1) + K (H + 1) for V = K = 65, E = H = 256, L = 2.
    """
    return CharacterModel(channels, classes, hidden, layers, dropout / 100)

"""Temporal convolutional networks: causal dilated convolutions with residuals.

Source: S. Bai, J. Z. Kolter, V. Koltun, "An empirical evaluation of generic convolutional and recurrent
networks for sequence modeling", 2018, arXiv:1803.01271, section 3 and table 2. Dilation 2^i at level i.

Paper and published code differ, and ``released=1`` is the code: it drops single numbers where the paper drops
channels, and its start N(0, 0.01) is lost in weight normalisation but for the shortcuts' (locuslab/TCN#1).
"""

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized

from concord.errors import UsageError
from concord.layers.recurrent.heads import last_step, require_numbers, require_symbols
from concord.layers.recurrent.scan import require_lengths
from concord.layers.temporal import State, TemporalBlock
from concord.zoo.registry import register


class TCN(nn.Module):
    """Temporal blocks of one width, then a dense layer on the last step or on every one.

    A step sees itself and 2 (k - 1) (2^levels - 1) before it.

    Shape: (B, T, D), lengths (B,) -> (B, K), or (B, T, K) for every step
    """

    channels_last = True

    def __init__(
        self,
        channels: int,
        classes: int,
        *,
        kernel: int,
        levels: int,
        width: int,
        dropout: float,
        released: bool,
        every: bool,
    ) -> None:
        if min(channels, classes, kernel, levels, width) < 1 or not 0 <= dropout < 1:
            raise UsageError("sizes of a TCN are at least 1, its dropout is a percentage below 100")
        super().__init__()
        self.channels, self.every = channels, every
        widths = [channels] + [width] * levels
        self.blocks = nn.Sequential(
            *(
                TemporalBlock(widths[i], width, kernel, 2**i, dropout, spatial=not released)
                for i in range(levels)
            )
        )
        self.head = nn.Linear(width, classes)
        for module in self.blocks.modules():
            if isinstance(module, nn.Conv1d) and not (released and is_parametrized(module)):
                start_normal(module)

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        require_numbers(x, self.channels)
        if lengths is not None:
            require_lengths(lengths, *x.shape[:2])
        y = self.blocks(x.transpose(1, 2)).transpose(1, 2)  # (B, T, N)
        return self.head(y if self.every else last_step(y, lengths))

    def initial(self, batch: int) -> list[State]:
        """What ``stream`` takes before the first step."""
        return [block.initial(batch) for block in self.blocks]  # type: ignore[operator]

    def stream(self, x: Tensor, state: list[State]) -> tuple[Tensor, list[State]]:
        """Logits for every step of a piece that follows others, and the state behind it."""
        require_numbers(x, self.channels)
        y, after = x.transpose(1, 2), []
        for block, before in zip(self.blocks, state, strict=True):
            y, last = block.stream(y, before)  # type: ignore[operator]
            after.append(last)
        return self.head(y.transpose(1, 2)), after


@torch.no_grad()
def start_normal(conv: nn.Conv1d) -> None:
    """w ~ N(0, 0.01) from torch's generator, also where w = g v / |v|: there w is assigned, not filled."""
    start = 0.01 * torch.randn_like(conv.weight)
    if is_parametrized(conv):
        conv.weight = start
    else:
        conv.weight.copy_(start)


class SymbolTCN(nn.Module):
    """A TCN that reads embedded symbols and gives logits of the next one at every step.

    Departure: a dense layer of its own behind it, where the authors' code shares the embedding's weights.

    Shape: (B, T) symbols, lengths (B,) -> (B, T, K)
    """

    def __init__(self, symbols: int, embedded: int, tcn: TCN) -> None:
        super().__init__()
        self.symbols, self.embedding, self.tcn = symbols, nn.Embedding(symbols, embedded), tcn

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        require_symbols(x, self.symbols)
        return self.tcn(self.embedding(x), lengths)

    def initial(self, batch: int) -> list[State]:
        """What ``stream`` takes before the first symbol."""
        return self.tcn.initial(batch)

    def stream(self, x: Tensor, state: list[State]) -> tuple[Tensor, list[State]]:
        """Logits for a piece that follows others, and the state behind it. Shape: (B, T) -> (B, T, K)"""
        require_symbols(x, self.symbols)
        return self.tcn.stream(self.embedding(x), state)


@register(
    example=(784, 1), parameters=66_910, source="Bai et al. 2018, table 2: MNIST by pixels, 8 levels of 25"
)
def tcn_mnist(
    channels: int = 1,
    classes: int = 10,
    *,
    kernel: int = 7,
    levels: int = 8,
    width: int = 25,
    dropout: int = 5,
    released: int = 0,
) -> nn.Module:
    """The last step decides. Its 8 levels see 3,061 steps, more than the 784 pixels of a digit."""
    return _tcn(channels, classes, kernel, levels, width, dropout, released, every=False)


@register(example=(600, 2), parameters=70_369, source="Bai et al. 2018, table 2: adding, T = 600")
def tcn_adding(
    channels: int = 2,
    classes: int = 1,
    *,
    kernel: int = 8,
    levels: int = 8,
    width: int = 24,
    dropout: int = 0,
    released: int = 0,
) -> nn.Module:
    """The last step answers with one number. T = 200: kernel 6, 7 levels of 27; T = 400: kernel 7."""
    return _tcn(channels, classes, kernel, levels, width, dropout, released, every=False)


@register(example=(1020, 1), parameters=12_530, source="Bai et al. 2018, table 2: copy memory, T = 1000")
def tcn_copy(
    channels: int = 1,
    classes: int = 10,
    *,
    kernel: int = 8,
    levels: int = 8,
    width: int = 10,
    dropout: int = 5,
    released: int = 0,
) -> nn.Module:
    """Every step answers. T = 500: kernel 6, 9 levels, 10,750 parameters; T = 2000: 9 levels."""
    return _tcn(channels, classes, kernel, levels, width, dropout, released, every=True)


@register(text=(400, 65), parameters=3_259_165, source="Bai et al. 2018, table 2: characters, 3 times 450")
def char_tcn(
    channels: int = 65,
    classes: int = 65,
    *,
    kernel: int = 3,
    levels: int = 3,
    width: int = 450,
    embedded: int = 100,
    dropout: int = 10,
    released: int = 0,
) -> nn.Module:
    """``channels`` is the number of symbols; every step predicts the next one."""
    body = _tcn(embedded, classes, kernel, levels, width, dropout, released, every=True)
    return SymbolTCN(channels, embedded, body)


def _tcn(
    channels: int,
    classes: int,
    kernel: int,
    levels: int,
    width: int,
    dropout: int,
    released: int,
    *,
    every: bool,
) -> TCN:
    sizes = {"kernel": kernel, "levels": levels, "width": width}
    return TCN(channels, classes, **sizes, dropout=dropout / 100, released=bool(released), every=every)

"""Encoder and forecaster: a network that reads the frames of a film and draws the next ones.

Source: X. Shi et al., "Convolutional LSTM network: a machine learning approach for precipitation nowcasting",
NeurIPS 2015, section 3.2 and table 1, whose six numbers of parameters these networks meet.

The encoder's layers read the frames; the forecaster's, in reverse order, begin with their states, and its
first layer has no input. A convolution of kernel 1 on what all of the forecaster's layers give makes the
frames; of the fully connected network the last layer alone is read. Frames are cut into patches of 4x4, which
become channels.
"""

from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.functional import pixel_shuffle, pixel_unshuffle

from concord.errors import ShapeError, UsageError
from concord.layers.recurrent.convlstm import ConvLSTM
from concord.layers.recurrent.lstm import LSTM
from concord.zoo.registry import register

PATCH = 4
SIDE = 64


class EncoderForecaster(nn.Module):
    """Reads T frames and gives the logits of the next ``ahead`` ones.

    Shape: (B, T, C, H, W) -> (B, ahead, C, H, W)
    """

    def __init__(self, widths: list[int], kernel_x: int, kernel_h: int, channels: int, ahead: int) -> None:
        if min(*widths, channels, ahead) < 1:
            raise UsageError("widths, channels and frames are at least 1")
        super().__init__()
        make = partial(ConvLSTM, kernel_x=kernel_x, kernel_h=kernel_h)
        patches = channels * PATCH**2
        self.channels, self.ahead = channels, ahead
        self.encoder = nn.ModuleList(map(make, [patches, *widths], widths))
        back = widths[::-1]
        self.forecaster = nn.ModuleList(map(make, [0, *back], back))
        self.head = nn.Conv2d(sum(widths), patches, 1)

    def forward(self, x: Tensor) -> Tensor:
        _require(x, self.channels)
        frames = pixel_unshuffle(x, PATCH).transpose(0, 1)  # (T, B, 16 C, H / 4, W / 4)
        shown = torch.cat(forecast(self.encoder, self.forecaster, frames, self.ahead), 2)
        drawn = self.head(shown.flatten(0, 1)).unflatten(0, shown.shape[:2])
        return pixel_shuffle(drawn, PATCH).transpose(0, 1)


class VectorForecaster(nn.Module):
    """The same of fully connected LSTMs with diagonal peepholes, on frames of one size S as vectors.

    Shape: (B, T, C, S, S) -> (B, ahead, C, S, S)
    """

    def __init__(self, widths: list[int], channels: int, ahead: int, side: int) -> None:
        if min(*widths, channels, ahead, side) < 1:
            raise UsageError("widths, channels, frames and their side are at least 1")
        super().__init__()
        make = partial(LSTM, peephole="diagonal")
        self.channels, self.ahead, self.side, numbers = channels, ahead, side, channels * side**2
        self.encoder = nn.ModuleList(map(make, [numbers, *widths], widths))
        back = widths[::-1]
        self.forecaster = nn.ModuleList(map(make, [0, *back], back))
        self.head = nn.Linear(back[-1], numbers)

    def forward(self, x: Tensor) -> Tensor:
        _require(x, self.channels, self.side)
        vectors = x.flatten(2).transpose(0, 1)  # (T, B, C S S)
        last = forecast(self.encoder, self.forecaster, vectors, self.ahead)[-1]
        return self.head(last).transpose(0, 1).unflatten(2, x.shape[2:])


def forecast(encoder: nn.ModuleList, forecaster: nn.ModuleList, x: Tensor, ahead: int) -> list[Tensor]:
    """What each layer of the forecaster gives at its ``ahead`` steps.

    Shape: (T, B, D, ...) -> for each layer (ahead, B, H, ...)
    """
    states = []
    for cell in encoder:
        x, state = cell(x)
        states.append(state)
    given = []
    y = x.new_zeros(ahead, x.shape[1], 0, *x.shape[3:])
    for cell, state in zip(forecaster, reversed(states), strict=True):
        y, _ = cell(y, state)
        given.append(y)
    return given


def _require(x: Tensor, channels: int, side: int | None = None) -> None:
    sides = f"{side}, {side}" if side else "H, W"
    fits = x.ndim == 5 and x.shape[1] and x.shape[2] == channels and x.shape[3:].numel()
    wrong = set(x.shape[3:]) != {side} if side else any(n % PATCH for n in x.shape[3:])
    if not fits or wrong:
        whole = "" if side else " with sides that are multiples of 4"
        raise ShapeError(f"expected frames (B, T, {channels}, {sides}){whole}, got {tuple(x.shape)}")


FILM = (10, 1, SIDE, SIDE)
TABLE = "Shi et al. 2015, table 1: ConvLSTM"


@register(example=FILM, parameters=13_524_496, source=f"{TABLE} (5x5)-5x5-256")
def convlstm_256(channels: int = 1, classes: int = 1, *, width: int = 256, ahead: int = 10) -> nn.Module:
    """One layer. ``classes`` is not used: a frame's pixels are what is drawn."""
    return EncoderForecaster([width], 5, 5, channels, ahead)


@register(example=FILM, parameters=10_042_896, source=f"{TABLE} (5x5)-5x5-128-5x5-128")
def convlstm_128_128(channels: int = 1, classes: int = 1, *, width: int = 128, ahead: int = 10) -> nn.Module:
    """Two layers. ``classes`` is not used."""
    return EncoderForecaster([width, width], 5, 5, channels, ahead)


@register(example=FILM, parameters=7_585_296, source=f"{TABLE} (5x5)-5x5-128-5x5-64-5x5-64")
def convlstm_128_64_64(
    channels: int = 1, classes: int = 1, *, width: int = 128, ahead: int = 10
) -> nn.Module:
    """Three layers, the best of the table; the upper two are half as wide. ``classes`` is not used."""
    return EncoderForecaster([width, width // 2, width // 2], 5, 5, channels, ahead)


@register(example=FILM, parameters=11_550_224, source=f"{TABLE} (9x9)-1x1-128-1x1-128")
def convlstm_pointwise_128_128(
    channels: int = 1, classes: int = 1, *, width: int = 128, ahead: int = 10
) -> nn.Module:
    """Kernels of 9x9 on the input and of 1x1 on the state, which cannot move. ``classes`` is not used."""
    return EncoderForecaster([width, width], 9, 1, channels, ahead)


@register(example=FILM, parameters=8_830_480, source=f"{TABLE} (9x9)-1x1-128-1x1-64-1x1-64")
def convlstm_pointwise_128_64_64(
    channels: int = 1, classes: int = 1, *, width: int = 128, ahead: int = 10
) -> nn.Module:
    """The same in three layers. ``classes`` is not used."""
    return EncoderForecaster([width, width // 2, width // 2], 9, 1, channels, ahead)


@register(example=FILM, parameters=142_667_776, source="Shi et al. 2015, table 1: FC-LSTM-2048-2048")
def fc_lstm_2048_2048(
    channels: int = 1, classes: int = 1, *, width: int = 2048, ahead: int = 10, side: int = SIDE
) -> nn.Module:
    """Fully connected, for frames of ``side`` times ``side``. ``classes`` is not used."""
    return VectorForecaster([width, width], channels, ahead, side)

"""Weights of torch's recurrent layers in ours, and back."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import nn

from concord.errors import UsageError
from concord.layers.recurrent.gru import GRU
from concord.layers.recurrent.lstm import LSTM
from concord.layers.recurrent.recurrent import Recurrent
from concord.layers.recurrent.rnn import RNN


def from_torch(layer: nn.LSTM | nn.GRU | nn.RNN) -> Recurrent:
    """The same function, with one bias in place of two (in a GRU's candidate both stay).

    ``batch_first`` is how ours always are. UsageError for projections, which ours lack.
    """
    if layer.proj_size:
        raise UsageError("a torch.nn.LSTM with proj_size cannot be converted: concord's cells have none")
    makes: dict[type, Any] = {
        nn.LSTM: partial(LSTM, bias=layer.bias),
        nn.GRU: partial(GRU, bias=layer.bias),
        nn.RNN: partial(RNN, bias=layer.bias, activation=getattr(layer, "nonlinearity", "tanh")),
    }
    ours = Recurrent(
        makes[type(layer)],
        layer.input_size,
        layer.hidden_size,
        layers=layer.num_layers,
        bidirectional=layer.bidirectional,
        dropout=layer.dropout,
    ).to(next(layer.parameters()))
    for cell, weights in zip(ours.cells, layer.all_weights, strict=True):
        _fill(cell, weights)
    return ours.train(layer.training)


@torch.no_grad()
def _fill(cell: Any, weights: Sequence[torch.Tensor]) -> None:
    cell.weight_x.copy_(weights[0])
    cell.weight_h.copy_(weights[1])
    if len(weights) == 4:
        first, second = weights[2], weights[3].clone()
        if isinstance(cell, GRU):
            assert cell.bias_hn is not None
            cell.bias_hn.copy_(second[2 * cell.hidden :])
            second[2 * cell.hidden :] = 0
        cell.bias.copy_(first + second)


@torch.no_grad()
def to_torch(ours: Recurrent) -> nn.LSTM | nn.GRU | nn.RNN:
    """torch's layer of the same function, ``batch_first``, with the second bias 0.

    UsageError for cells that torch lacks: peepholes, coupled gates, reset before, a learned initial state.
    """
    cells: list[Any] = list(ours.cells)
    cell = cells[0]
    hidden, inputs = cell.weight_h.shape[1], cell.weight_x.shape[1]
    options: dict[str, Any] = {
        "num_layers": len(cells) // ours.directions,
        "bidirectional": ours.directions == 2,
        "dropout": ours.dropout.p,
        "bias": cell.bias is not None,
        "batch_first": True,
    }
    kind = {LSTM: nn.LSTM, GRU: nn.GRU, RNN: nn.RNN}.get(type(cell))
    if kind is None or cell.as_torch() is None or len(cell.first.vectors):
        raise UsageError(
            "torch lacks this cell: peepholes, coupled gates, reset before, z_new, a learned start"
        )
    if isinstance(cell, RNN):
        options["nonlinearity"] = cell.activation
    layer = kind(inputs, hidden, **options).to(cell.weight_x)
    for own, theirs in zip(cells, layer.all_weights, strict=True):
        for held, weight in zip(theirs, own.as_torch(), strict=True):
            held.copy_(weight)
    return layer.train(ours.training)

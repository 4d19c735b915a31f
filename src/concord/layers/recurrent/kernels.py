"""torch's own kernels for one layer in one direction."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from concord.layers.recurrent.scan import State


def by_torch(
    kernel: Callable[..., Any], weights: Sequence[Tensor], x: Tensor, state: State, lengths: Tensor | None
) -> tuple[Tensor, State]:
    """What ``scan`` gives, by ``kernel`` (torch.lstm, torch.gru, ...) with its two or four ``weights``.

    Shape: x (T, B, D), state (B, H) each, lengths (B,) -> (T, B, H), (B, H) each
    """
    before = [part[None].contiguous() for part in state]  # one layer, one direction
    options = (len(weights) > 2, 1, 0.0, False, False)  # biases, layers, dropout, training, both directions
    if lengths is None:
        y, *after = kernel(x, _hidden(before), weights, *options, False)
        return y, tuple(part[0] for part in after)
    packed = pack_padded_sequence(x, lengths.cpu(), enforce_sorted=False)
    order, back = packed.sorted_indices, packed.unsorted_indices
    assert order is not None
    ordered = _hidden([part[:, order] for part in before])
    y, *after = kernel(packed.data, packed.batch_sizes, ordered, weights, *options)
    y, _ = pad_packed_sequence(PackedSequence(y, packed.batch_sizes, order, back), total_length=len(x))
    return y, tuple(part[0, back] for part in after)


def _hidden(parts: list[Tensor]) -> Any:
    """torch takes one tensor, and a pair for an LSTM."""
    return parts if len(parts) > 1 else parts[0]


def two_biases(weight_x: Tensor, weight_h: Tensor, bias: Tensor | None, last: Tensor | None) -> list[Tensor]:
    """Weights as torch takes them: its second bias is 0 but for ``last``, at the end of it."""
    if bias is None:
        return [weight_x, weight_h]
    if last is None:
        return [weight_x, weight_h, bias, torch.zeros_like(bias)]
    second = torch.cat([bias.new_zeros(len(bias) - len(last)), last])  # torch 2.11 exports no copy in place
    return [weight_x, weight_h, bias, second]

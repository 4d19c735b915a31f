"""The recurrent network of Elman.

Source: J. Elman, "Finding structure in time", Cognitive Science 14, 1990; as Kalkan writes it.
"""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from concord.errors import UsageError
from concord.layers.recurrent.cell import Cell
from concord.layers.recurrent.equations import sum_of
from concord.layers.recurrent.exported import Operator
from concord.layers.recurrent.kernels import by_torch, two_biases
from concord.layers.recurrent.scan import State
from concord.layers.recurrent.start import FirstState, Start, orthogonal_blocks, xavier_blocks, zeros

ACTIVATIONS = {"tanh": torch.tanh, "relu": torch.relu}


class RNN(Cell):
    """h_t = activation(W_x x_t + W_h h_{t-1} + b).

    ``initial_state`` is "zero", or "learned": one vector for all samples. H (D + H + 1) parameters, H less
    without a bias, H more with a learned state.
    """

    def __init__(
        self,
        inputs: int,
        hidden: int,
        *,
        activation: Literal["tanh", "relu"] = "tanh",
        bias: bool = True,
        initial_state: Start = "zero",
    ) -> None:
        super().__init__()
        if activation not in ACTIVATIONS:
            raise UsageError(f"activation is tanh or relu, got {activation!r}")
        self.activation = activation
        self.weight_x = nn.Parameter(torch.empty(hidden, inputs))
        self.weight_h = nn.Parameter(torch.empty(hidden, hidden))
        self.bias = zeros(hidden) if bias else None
        self.first = FirstState(hidden, 1, initial_state)
        xavier_blocks(self.weight_x, 1)
        orthogonal_blocks(self.weight_h, 1)

    def project(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight_x, self.bias)

    def step(self, projected: Tensor, state: State) -> State:
        (h,) = state
        return (ACTIVATIONS[self.activation](projected + F.linear(h, self.weight_h)),)

    def equations(self) -> tuple[str, ...]:
        summed = sum_of("", inputs=self.weight_x.shape[1], bias=self.bias is not None)
        return (f"h_t = {self.activation}({summed})",)

    def as_torch(self) -> list[Tensor]:
        """Weights for torch's kernel."""
        return two_biases(self.weight_x, self.weight_h, self.bias, None)

    def as_onnx(self) -> Operator:
        return Operator("RNN", self.as_torch(), options={"activations": [self.activation.capitalize()]})

    def at_once(self, x: Tensor, state: State, lengths: Tensor | None) -> tuple[Tensor, State]:
        kernel = torch.rnn_tanh if self.activation == "tanh" else torch.rnn_relu
        return by_torch(kernel, self.as_torch(), x, state, lengths)

    def initial(self, batch: int, *sides: int) -> State:
        return self.first(batch, sides, self.weight_h)

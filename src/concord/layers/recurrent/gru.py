"""The gated recurrent unit, in its two places for the reset gate and its two directions of the update.

Sources: K. Cho et al., "Learning phrase representations using RNN encoder-decoder", 2014 (arXiv:1406.1078,
reset before the product in version 3, behind it in versions 1 and 2); J. Chung et al., "Empirical evaluation
of gated recurrent neural networks on sequence modeling", 2014 (before); cuDNN and torch.nn.GRU (behind).
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


class GRU(Cell):
    """A cell that moves its state towards a candidate n.

        r, z = sigmoid(W x_t + U h_{t-1} + b)
        n = tanh(W_n x_t + b_n + U_n (r h_{t-1}))             reset "before", as Kalkan has it
        n = tanh(W_n x_t + b_n + r (U_n h_{t-1} + b_hn))      reset "after", as torch has it
        h_t = z h_{t-1} + (1 - z) n                           update "z_old", as torch has it
        h_t = (1 - z) h_{t-1} + z n                           update "z_new", as Kalkan has it

    The two updates are one network with z named otherwise; the two resets are two. Blocks are r, z, n.

    Parameters: 3 H (D + H + 1), H more with reset "after" (b_hn), H more with a learned initial state.
    """

    def __init__(
        self,
        inputs: int,
        hidden: int,
        *,
        reset: Literal["before", "after"] = "after",
        update: Literal["z_old", "z_new"] = "z_old",
        bias: bool = True,
        initial_state: Start = "zero",
    ) -> None:
        super().__init__()
        if reset not in ("before", "after") or update not in ("z_old", "z_new"):
            raise UsageError(f"reset is before or after, update z_old or z_new, got {reset!r} and {update!r}")
        self.hidden, self.reset, self.update = hidden, reset, update
        self.weight_x = nn.Parameter(torch.empty(3 * hidden, inputs))
        self.weight_h = nn.Parameter(torch.empty(3 * hidden, hidden))
        self.bias = zeros(3 * hidden) if bias else None
        self.bias_hn = zeros(hidden) if bias and reset == "after" else None
        self.first = FirstState(hidden, 1, initial_state)
        xavier_blocks(self.weight_x, 3)
        orthogonal_blocks(self.weight_h, 3)

    def project(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight_x, self.bias)

    def step(self, projected: Tensor, state: State) -> State:
        (h,) = state
        gates, n = projected.split((2 * self.hidden, self.hidden), 1)
        first, last = self.weight_h.split((2 * self.hidden, self.hidden))
        r, z = torch.sigmoid(torch.addmm(gates, h, first.t())).chunk(2, 1)
        seen = F.linear(r * h, last) if self.reset == "before" else r * F.linear(h, last, self.bias_hn)
        n, z = torch.tanh(n + seen).to(h), z.to(h)  # under autocast products have fewer bits than the state
        old, new = (h, n) if self.update == "z_old" else (n, h)
        return (torch.lerp(new, old, z),)  # new + z (old - new)

    def equations(self) -> tuple[str, ...]:
        inputs, bias = self.weight_x.shape[1], self.bias is not None
        old, new = ("z_t", "(1 - z_t)") if self.update == "z_old" else ("(1 - z_t)", "z_t")
        gates = [f"{name}_t = sigmoid({sum_of(name, inputs=inputs, bias=bias)})" for name in ("r", "z")]
        after = f"r_t ∘ (U_n h_{{t-1}}{' + b_{hn}' * bias})"
        terms = ["W_n x_t"] * bool(inputs) + ["U_n (r_t ∘ h_{t-1})" if self.reset == "before" else after]
        n = " + ".join(terms + ["b_n"] * bias)
        return (*gates, f"n_t = tanh({n})", f"h_t = {old} ∘ h_{{t-1}} + {new} ∘ n_t")

    def as_torch(self) -> list[Tensor] | None:
        """Weights for torch's kernel; None for another equation."""
        if self.reset == "before" or self.update == "z_new":
            return None
        return two_biases(self.weight_x, self.weight_h, self.bias, self.bias_hn)

    def as_onnx(self) -> Operator:
        """Its gates are z, r, n with the update of torch; sigmoid(-a) = 1 - sigmoid(a) makes it ours."""
        sign = 1 if self.update == "z_old" else -1

        def ordered(weight: Tensor) -> Tensor:
            r, z, n = weight.chunk(3)
            return torch.cat([sign * z, r, n])

        weights = two_biases(self.weight_x, self.weight_h, self.bias, self.bias_hn)
        options = {"linear_before_reset": int(self.reset == "after")}
        return Operator("GRU", [ordered(weight) for weight in weights], options=options)

    def at_once(self, x: Tensor, state: State, lengths: Tensor | None) -> tuple[Tensor, State] | None:
        weights = self.as_torch()
        return None if weights is None else by_torch(torch.gru, weights, x, state, lengths)

    def initial(self, batch: int, *sides: int) -> State:
        return self.first(batch, sides, self.weight_h)

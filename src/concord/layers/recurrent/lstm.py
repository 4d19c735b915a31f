"""Long short-term memory, with peepholes and coupled gates.

Sources: S. Hochreiter, J. Schmidhuber, "Long short-term memory", Neural Computation 9, 1997; F. Gers,
J. Schmidhuber, F. Cummins, "Learning to forget", 2000 (the forget gate); F. Gers, J. Schmidhuber, "Recurrent
nets that time and count", IJCNN 2000, section 3 (diagonal peepholes); K. Greff et al., "LSTM: a search space
odyssey", 2015, section 3 (coupled gates); Kalkan (peepholes that are whole matrices).
"""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from concord.errors import UsageError
from concord.layers.products import Linear
from concord.layers.recurrent.bptt import steps
from concord.layers.recurrent.cell import Cell
from concord.layers.recurrent.equations import sum_of
from concord.layers.recurrent.exported import Operator
from concord.layers.recurrent.kernels import by_torch, two_biases
from concord.layers.recurrent.scan import State
from concord.layers.recurrent.start import FirstState, Start, orthogonal_blocks, xavier_blocks, zeros

Peephole = Literal["none", "diagonal", "full"]


class LSTM(Cell):
    """A cell that keeps a sum c, and gates for what enters, what stays and what is shown.

        i, f = sigmoid(W x_t + U h_{t-1} + P c_{t-1} + b)
        g = tanh(W x_t + U h_{t-1} + b)
        c_t = f c_{t-1} + i g
        o = sigmoid(W x_t + U h_{t-1} + P c_t + b),  h_t = o tanh(c_t)

    each with matrices of its own. ``peephole``: "none" (P = 0), "diagonal" (one number for each unit) or
    "full" (a matrix). ``coupled``: i = 1 - f, without parameters of its own. ``forget_bias`` is the first
    value of b in f. Blocks of rows are i, f, g, o, those that exist.

    Parameters: 4 H (D + H + 1), with coupled gates 3 H (D + H + 1); peepholes 3 H or 3 H^2, coupled 2 H or
    2 H^2; a learned initial state 2 H.
    """

    def __init__(
        self,
        inputs: int,
        hidden: int,
        *,
        peephole: Peephole = "none",
        coupled: bool = False,
        forget_bias: float = 1.0,
        bias: bool = True,
        initial_state: Start = "zero",
    ) -> None:
        super().__init__()
        if peephole not in ("none", "diagonal", "full"):
            raise UsageError(f"a peephole is none, diagonal or full, got {peephole!r}")
        gates = 3 if coupled else 4
        self.hidden, self.coupled, self.peephole = hidden, coupled, peephole
        self.weight_x = nn.Parameter(torch.empty(gates * hidden, inputs))
        self.weight_h = nn.Parameter(torch.empty(gates * hidden, hidden))
        self.bias = zeros(gates * hidden) if bias else None
        columns = {"none": (0,), "diagonal": (), "full": (hidden,)}[peephole]
        # on the state before (i and f, or f alone) and on the new one (o)
        self.peephole_before = zeros((gates - 2) * hidden, *columns) if peephole != "none" else None
        self.peephole_after = zeros(hidden, *columns) if peephole != "none" else None
        self.first = FirstState(hidden, 2, initial_state)
        xavier_blocks(self.weight_x, gates)
        orthogonal_blocks(self.weight_h, gates)
        if self.bias is not None:
            nn.init.constant_(self.bias.data.chunk(gates)[gates - 3], forget_bias)

    def project(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight_x, self.bias)

    def step(self, projected: Tensor, state: State) -> State:
        h, c = state
        z = torch.addmm(projected, h, self.weight_h.t())  # (B, G H)
        gates, g, o = z.split((z.shape[1] - 2 * self.hidden, self.hidden, self.hidden), 1)
        gates = torch.sigmoid(_seen(gates, self.peephole_before, c))
        i, f = (1 - gates, gates) if self.coupled else gates.chunk(2, 1)
        c = torch.addcmul(f * c, i, torch.tanh(g))
        o = torch.sigmoid(_seen(o, self.peephole_after, c))
        return o * torch.tanh(c), c

    def equations(self) -> tuple[str, ...]:
        def gate(name: str, peephole: str = "") -> str:
            return sum_of(name, inputs=self.weight_x.shape[1], bias=self.bias is not None, peephole=peephole)

        def seen(name: str, c: str) -> str:
            return {"none": "", "diagonal": f"p_{name} ∘ {c}", "full": f"P_{name} {c}"}[self.peephole]

        return (
            "i_t = 1 - f_t" if self.coupled else f"i_t = sigmoid({gate('i', seen('i', 'c_{t-1}'))})",
            f"f_t = sigmoid({gate('f', seen('f', 'c_{t-1}'))})",
            f"g_t = tanh({gate('g')})",
            "c_t = f_t ∘ c_{t-1} + i_t ∘ g_t",
            f"o_t = sigmoid({gate('o', seen('o', 'c_t'))})",
            "h_t = o_t ∘ tanh(c_t)",
        )

    def as_torch(self) -> list[Tensor] | None:
        """Weights for torch's kernel; None for another equation."""
        if self.coupled or self.peephole != "none":
            return None
        return two_biases(self.weight_x, self.weight_h, self.bias, None)

    def as_onnx(self) -> Operator | None:
        """Its gates are i, o, f, g. For coupled ones i = 1 - sigmoid(a) = sigmoid(-a), where a is f's."""
        if self.peephole == "full":
            return None

        def ordered(weight: Tensor, *after: Tensor) -> Tensor:
            if self.coupled:
                weight = torch.cat([-weight[: self.hidden], weight])
            i, f, *g, o = torch.cat([weight, *after]).chunk(4 - len(after))  # peepholes lack g
            return torch.cat([i, o, f, *g])

        weights = two_biases(self.weight_x, self.weight_h, self.bias, None)
        before, after = self.peephole_before, self.peephole_after
        peephole = None if before is None or after is None else ordered(before, after)
        return Operator("LSTM", [ordered(weight) for weight in weights], peephole)

    def at_once(self, x: Tensor, state: State, lengths: Tensor | None) -> tuple[Tensor, State] | None:
        """By torch without peepholes; with diagonal ones by ``bptt``, for samples of one length."""
        if (weights := self.as_torch()) is not None:
            return by_torch(torch.lstm, weights, x, state, lengths)
        exact = x.device.type == "cpu" and x.dtype in (torch.float32, torch.float64)
        if self.coupled or self.peephole != "diagonal" or lengths is not None or not exact or not x.shape[2]:
            return None
        projected = Linear.apply(x.flatten(0, 1), self.weight_x, self.bias).view(*x.shape[:2], -1)
        h, c = (part.contiguous() for part in state)
        y, h, c = steps(projected, self.weight_h, self.peephole_before, self.peephole_after, h, c)
        return y, (h, c)

    def initial(self, batch: int, *sides: int) -> State:
        return self.first(batch, sides, self.weight_h)


def _seen(z: Tensor, peephole: Tensor | None, c: Tensor) -> Tensor:
    """z with what a gate sees of the cell's state. Shape: (B, n H), (n H,) or (n H, H), (B, H) -> (B, n H)"""
    if peephole is None:
        return z
    if peephole.ndim == 2:
        return torch.addmm(z, c, peephole.t())
    return z + peephole * c.repeat(1, len(peephole) // c.shape[1])

"""Long short-term memory over maps.

Source: X. Shi et al., "Convolutional LSTM network: a machine learning approach for precipitation nowcasting",
NeurIPS 2015, equation 3. Departure from the equation as it is mostly read: its peepholes have one weight for
each channel, which alone gives the published numbers of parameters; "full" has one for each place, too.
"""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from concord.errors import ShapeError, UsageError
from concord.layers.recurrent.cell import Cell
from concord.layers.recurrent.equations import sum_of
from concord.layers.recurrent.scan import State
from concord.layers.recurrent.start import FirstState, Start, xavier_blocks, zeros


class ConvLSTM(Cell):
    """The LSTM with convolutions in place of products, * below; sides are kept.

        i, f = sigmoid(W * x_t + U * h_{t-1} + p c_{t-1} + b),  g = tanh(W * x_t + U * h_{t-1} + b)
        c_t = f c_{t-1} + i g,  o = sigmoid(W * x_t + U * h_{t-1} + p c_t + b),  h_t = o tanh(c_t)

    ``inputs`` may be 0: a layer that nothing but its state feeds. ``peephole``: "none", "channel" (one weight
    for each channel) or "full" (for each channel and place, of which ``sides`` says how many there are).

    Parameters: 4 C (D k_x^2 + C k_h^2 + 1), 3 C more for peepholes per channel, 3 C H W for full ones.

    Shape of a step: (B, 4 C, H, W), state (B, C, H, W) twice
    """

    def __init__(
        self,
        inputs: int,
        channels: int,
        *,
        kernel_x: int = 5,
        kernel_h: int = 5,
        peephole: Literal["none", "channel", "full"] = "channel",
        sides: tuple[int, int] | None = None,
        forget_bias: float = 1.0,
        initial_state: Start = "zero",
    ) -> None:
        super().__init__()
        if kernel_x % 2 == 0 or kernel_h % 2 == 0:
            raise UsageError(
                f"kernels have an odd side, so that maps keep theirs, got {kernel_x}, {kernel_h}"
            )
        if peephole not in ("none", "channel", "full") or (peephole == "full") != (sides is not None):
            raise UsageError("peephole is none, channel, or full with sides=(height, width)")
        self.channels = channels
        self.weight_x = nn.Parameter(torch.empty(4 * channels, inputs, kernel_x, kernel_x))
        self.weight_h = nn.Parameter(torch.empty(4 * channels, channels, kernel_h, kernel_h))
        self.bias = zeros(4 * channels)
        self.peephole = None if peephole == "none" else zeros(3, channels, *(sides or (1, 1)))
        self.first = FirstState(channels, 2, initial_state)
        xavier_blocks(self.weight_x, 4)
        xavier_blocks(self.weight_h, 4)
        nn.init.constant_(self.bias.data[channels : 2 * channels], forget_bias)

    def project(self, x: Tensor) -> Tensor:
        """Shape: (T, B, D, H, W) -> (T, B, 4 C, H, W)"""
        if x.shape[2] != self.weight_x.shape[1]:
            raise ShapeError(f"expected {self.weight_x.shape[1]} channels, got {tuple(x.shape)}")
        if not x.shape[2]:
            return self.bias[:, None, None].expand(*x.shape[:2], -1, *x.shape[3:])
        maps = F.conv2d(x.flatten(0, 1), self.weight_x, self.bias, padding="same")
        return maps.unflatten(0, x.shape[:2])

    def step(self, projected: Tensor, state: State) -> State:
        h, c = state
        z = projected + F.conv2d(h, self.weight_h, padding="same")
        i, f, g, o = z.chunk(4, 1)
        if self.peephole is not None:
            i, f = i + self.peephole[0] * c, f + self.peephole[1] * c
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
        o = o if self.peephole is None else o + self.peephole[2] * c
        return torch.sigmoid(o) * torch.tanh(c), c

    def equations(self) -> tuple[str, ...]:
        def gate(name: str, c: str = "") -> str:
            peephole = f"p_{name} ∘ {c}" if c and self.peephole is not None else ""
            return sum_of(name, inputs=self.weight_x.shape[1], bias=True, times=" * ", peephole=peephole)

        return (
            f"i_t = sigmoid({gate('i', 'c_{t-1}')})",
            f"f_t = sigmoid({gate('f', 'c_{t-1}')})",
            f"g_t = tanh({gate('g')})",
            "c_t = f_t ∘ c_{t-1} + i_t ∘ g_t",
            f"o_t = sigmoid({gate('o', 'c_t')})",
            "h_t = o_t ∘ tanh(c_t)",
        )

    def initial(self, batch: int, *sides: int) -> State:
        return self.first(batch, sides, self.weight_h)

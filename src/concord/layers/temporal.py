"""Convolutions in time that see the past alone.

Source: S. Bai, J. Z. Kolter, V. Koltun, "An empirical evaluation of generic convolutional and recurrent
networks for sequence modeling", 2018, arXiv:1803.01271, section 3.
"""

import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

from concord.errors import UsageError


class CausalConv1d(nn.Conv1d):
    """y_t = sum_j W_j x_{t - (k - 1 - j) d} + b, with zeros before the beginning: as many steps as x has.

    Shape: (B, C, T) -> (B, N, T)
    """

    def __init__(
        self, inputs: int, outputs: int, kernel: int, dilation: int = 1, *, bias: bool = True
    ) -> None:
        if min(kernel, dilation) < 1:
            raise UsageError(f"kernel and dilation are at least 1, got {kernel} and {dilation}")
        super().__init__(inputs, outputs, kernel, dilation=dilation, bias=bias)
        self.past = (kernel - 1) * dilation

    def forward(self, input: Tensor) -> Tensor:
        return super().forward(F.pad(input, (self.past, 0)))


class TemporalBlock(nn.Module):
    """relu(x + dropout(relu(conv(dropout(relu(conv(x))))))) with weight-normalised causal convolutions.

    Weight normalisation: w = g v / |v| for each output. Where the widths differ, x passes a convolution of
    kernel 1, without weight normalisation. ``spatial`` dropout drops whole channels, as the paper has it; the
    authors' code drops single numbers.

    Parameters: N (C k + 2) + N (N k + 2), and N (C + 1) where C and N differ.

    Shape: (B, C, T) -> (B, N, T)
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int,
        dilation: int,
        dropout: float = 0.0,
        *,
        spatial: bool = True,
    ) -> None:
        super().__init__()
        drop = nn.Dropout1d if spatial else nn.Dropout
        self.path = nn.Sequential()
        for width in (inputs, outputs):
            self.path.append(weight_norm(CausalConv1d(width, outputs, kernel, dilation)))
            self.path.append(nn.ReLU())
            self.path.append(drop(dropout))
        self.shortcut = nn.Conv1d(inputs, outputs, 1) if inputs != outputs else nn.Identity()

    def equations(self) -> tuple[str, ...]:
        """What a step computes, in the notation of ``layers.recurrent.equations``; without dropout."""
        kept = "x_t" if isinstance(self.shortcut, nn.Identity) else "S x_t + s"
        return (
            "u_t = relu(Σ_j W_j x_{t-(k-1-j)d} + a)",
            "v_t = relu(Σ_j V_j u_{t-(k-1-j)d} + b)",
            f"y_t = relu(v_t + {kept})",
        )

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.path(x) + self.shortcut(x))

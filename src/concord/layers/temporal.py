"""Convolutions in time that see the past alone.

Source: S. Bai, J. Z. Kolter, V. Koltun, "An empirical evaluation of generic convolutional and recurrent
networks for sequence modeling", 2018, arXiv:1803.01271, section 3.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

from concord.errors import UsageError

State = tuple[Tensor, ...]  # of each convolution the inputs before, (B, C, past)


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

    def stream(self, input: Tensor, before: Tensor) -> tuple[Tensor, Tensor]:
        """The same for x that follows the ``past`` inputs ``before``, and the last ``past`` ones.

        Shape: (B, C, T), (B, C, past) -> (B, N, T), (B, C, past)
        """
        seen = torch.cat([before, input], 2)
        return super().forward(seen), seen[:, :, seen.shape[2] - self.past :]


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

    def initial(self, batch: int) -> State:
        """The zeros before the beginning of both convolutions, for ``stream``."""
        convolutions = [layer for layer in self.path if isinstance(layer, CausalConv1d)]
        return tuple(c.weight.new_zeros(batch, c.in_channels, c.past) for c in convolutions)

    def stream(self, x: Tensor, before: State) -> tuple[Tensor, State]:
        """The same for x that follows what ``before`` holds, and what the next piece follows."""
        y = x
        after: list[Tensor] = []
        for layer in self.path:
            if isinstance(layer, CausalConv1d):
                y, last = layer.stream(y, before[len(after)])
                after.append(last)
            else:
                y = layer(y)
        return F.relu(y + self.shortcut(x)), tuple(after)

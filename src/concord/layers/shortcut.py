"""Shortcuts around residual branches. Shapes are (B, C, H, W).

Source: K. He, X. Zhang, S. Ren, J. Sun, "Deep Residual Learning for Image Recognition", 2015,
arXiv:1512.03385, section 3.3.
"""

import torch.nn.functional as F
from torch import Tensor, nn


class PaddedShortcut(nn.Module):
    """The identity where the sizes change, without parameters ("option A").

        y[c, i, j] = x[c, s i, s j] for the first C maps, 0 for the ``extra`` ones behind them

    Shape: (B, C, H, W) -> (B, C + extra, ceil(H / s), ceil(W / s))
    """

    def __init__(self, extra: int, stride: int) -> None:
        super().__init__()
        self.extra, self.stride = extra, stride

    def forward(self, x: Tensor) -> Tensor:
        return F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, 0, self.extra))

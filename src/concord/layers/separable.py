"""A convolution in two steps: each channel by itself, then each position by itself. Shapes are (B, C, H, W).

Source: L. Sifre, S. Mallat, "Rigid-Motion Scattering for Texture Classification", 2014, arXiv:1403.1687;
the cost as in A. G. Howard et al., "MobileNets", 2017, arXiv:1704.04861, section 3.1.
"""

from torch import Tensor, nn


class SeparableConv2d(nn.Module):
    """A KxK convolution of each channel alone, then a 1x1 convolution that mixes the channels.

        u[m] = w[m] * x[m] + a[m],    y[n] = sum_m v[n, m] u[m] + b[n]

    It is the convolution with kernel v[n, m] w[m], at most the 1/N + 1/K² part of that one's cost:
    K² M + M N weights (+ M + N biases) and H W M (K² + N) multiply-accumulates, for M channels, N filters and
    an output of H x W. Nothing stands between the two steps; a network that wants normalisation and a ReLU
    there (MobileNet) puts them there itself.

    Shape: (B, M, H, W) -> (B, N, H', W') with H' = floor((H + 2 padding - K) / stride) + 1
    """

    def __init__(
        self,
        channels: int,
        filters: int,
        kernel_size: int,
        *,
        stride: int = 1,
        padding: int = 0,
        bias: bool = True,
    ) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(
            channels, channels, kernel_size, stride, padding, groups=channels, bias=bias
        )
        self.pointwise = nn.Conv2d(channels, filters, 1, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.pointwise(self.depthwise(x))

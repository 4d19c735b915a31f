"""Batch normalisation as TensorFlow's tf.layers of 2017 had it. Shapes are (B, C, H, W).

Source: S. Ioffe, C. Szegedy, "Batch Normalization", 2015, arXiv:1502.03167, algorithms 1 and 2.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class ShiftBatchNorm2d(nn.BatchNorm2d):
    """Batch normalisation that learns a shift and no scale (TensorFlow: scale=False, center=True).

        y = (x - mean) / sqrt(variance + eps) + bias

    The scale is absent, not frozen: no parameter, no entry in the state dict. In front of a ReLU and a
    convolution it would be redundant, because the next kernel can take it up.

    Shape: (B, C, H, W) -> (B, C, H, W)
    """

    def __init__(self, channels: int, eps: float = 1e-5, momentum: float = 0.1) -> None:
        super().__init__(channels, eps, momentum, affine=False)
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, input: Tensor) -> Tensor:
        if not self.bias.is_cuda:
            return super().forward(input)
        # PyTorch's CUDA kernels know a shift without a scale forwards only: its gradient comes out empty
        scale = torch.ones_like(self.bias)
        assert self.num_batches_tracked is not None
        assert self.momentum is not None
        self._check_input_dim(input)
        if self.training:
            self.num_batches_tracked.add_(1)
        mean, var = self.running_mean, self.running_var
        return F.batch_norm(input, mean, var, scale, self.bias, self.training, self.momentum, self.eps)

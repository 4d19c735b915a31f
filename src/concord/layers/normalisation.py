"""Batch normalisation as TensorFlow's tf.layers of 2017 had it. Shapes are (B, C, H, W).

Source: S. Ioffe, C. Szegedy, "Batch Normalization", 2015, arXiv:1502.03167, algorithms 1 and 2.
"""

import torch
from torch import nn


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

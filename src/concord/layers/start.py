"""First values of weights.

Source: K. He, X. Zhang, S. Ren, J. Sun, "Delving Deep into Rectifiers", 2015, arXiv:1502.01852, section 2.2.
"""

from math import prod, sqrt

from torch import nn


def he_start(network: nn.Module) -> None:
    """He's start for the kernels of all convolutions, zero for their biases, from torch's global generator.

        w ~ N(0, 2 / n), n = K² M / G, or K² M / (S² G) of a transposed one with stride S

    The 2 makes up for the ReLU that comes before a convolution: it halves the mean square. No ReLU stands
    between a mean over the picture and the dense layer behind it; dense layers keep PyTorch's start.
    The code of several papers takes the other count of that section, n = K² N, the outputs of a kernel.
    """
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight)
        elif isinstance(layer, nn.ConvTranspose2d):  # an output reads one of S² kernel entries
            n = prod(layer.kernel_size) / prod(layer.stride) * layer.in_channels / layer.groups
            nn.init.normal_(layer.weight, std=sqrt(2 / n))
        else:
            continue
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)

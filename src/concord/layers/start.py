"""First values of weights.

Source: K. He, X. Zhang, S. Ren, J. Sun, "Delving Deep into Rectifiers", 2015, arXiv:1502.01852, section 2.2.
"""

from torch import nn


def he_start(network: nn.Module) -> None:
    """He's start for the kernels of all convolutions, zero for their biases, from torch's global generator.

        w ~ N(0, 2 / n), n = K² M / G

    The 2 makes up for the ReLU that comes before a convolution: it halves the mean square. No ReLU stands
    between a mean over the picture and the dense layer behind it; dense layers keep PyTorch's start.
    The code of several papers takes the other count of that section, n = K² N, the outputs of a kernel.
    """
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)

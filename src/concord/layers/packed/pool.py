"""Maximum pooling of bits."""

import torch
from torch import Tensor, nn

from concord.errors import UsageError
from concord.native import ops, words

Size = int | tuple[int, int]


class PackedMaxPool2d(nn.Module):
    """The bits of ``nn.MaxPool2d`` followed by a threshold, from bits of that threshold before it.

    A maximum is below a threshold where all values are. Where ``side`` of the threshold is -1, it is above
    where one is. Shape: (B, H, W, words) -> (B, H', W' + 2 columns, words)
    """

    falling: Tensor

    def __init__(self, pool: nn.MaxPool2d, side: Tensor | None, channels: int, columns: int) -> None:
        super().__init__()
        if pool.ceil_mode or pool.return_indices:
            raise UsageError("pooling of bits has neither ceil_mode nor return_indices")
        step = pool.kernel_size if pool.stride is None else pool.stride
        self.kernel = [
            n for size in (pool.kernel_size, step, pool.padding, pool.dilation) for n in _pair(size)
        ]
        self.channels, self.columns = channels, columns
        falls = torch.zeros(channels, dtype=torch.bool) if side is None else side < 0
        self.register_buffer("falling", words.to_words(falls))
        self.training = False

    def forward(self, bits: Tensor) -> Tensor:
        return ops.binary_max_pool(bits, self.falling, self.channels, self.kernel, self.columns)


def _pair(size: Size) -> tuple[int, int]:
    return (size, size) if isinstance(size, int) else (size[0], size[1])

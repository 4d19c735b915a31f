"""What follows the dot products of a binary convolution, in this order, each step rounded to float32."""

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Cut:
    """Where a value counts as negative: side x < cut. None: x < 0. Shape of both: (C,)

    Batch normalisation before a sign is such a cut; ``side`` is -1 where its factor is negative.
    """

    cut: Tensor | None = None
    side: Tensor | None = None


@dataclass(frozen=True)
class Scales:
    """y kmap alpha + bias, then y factor + shift. Shapes: kmap (N, 1, OH, OW), all others (O,)"""

    alpha: Tensor | None = None
    bias: Tensor | None = None
    factor: Tensor | None = None
    shift: Tensor | None = None
    kmap: Tensor | None = None

"""Memory of large outputs that nobody holds is used again.

Pages of new memory cost more than the arithmetic: a layer of 64 channels on 64 images of 56x56 gives
51 MB, whose first writing takes 10 ms of 60.
"""

from math import prod

import torch
from torch import Tensor

LEAST = 2**21  # bytes: what is smaller comes from memory that the process has already


class Kept:
    """Empty tensors of one shape, in the memory of the last one where that is free."""

    def __init__(self, shape: tuple[int, ...], strides: tuple[int, ...], dtype: torch.dtype) -> None:
        self.shape, self.strides, self.dtype = shape, strides, dtype
        self.large = dtype.itemsize * prod(shape) >= LEAST
        self.storage: torch.UntypedStorage | None = None

    def empty(self) -> Tensor:
        """Contents are whatever was there."""
        if self.large and self.storage is not None and _users(self.storage) == ALONE != UNKNOWN:
            made = torch.empty(0, dtype=self.dtype, device="cpu")
            return made.set_(self.storage, 0, self.shape, self.strides)
        made = torch.empty_strided(self.shape, self.strides, dtype=self.dtype, device="cpu")
        self.storage = made.untyped_storage() if self.large else None
        return made


UNKNOWN = -1


def _users(storage: torch.UntypedStorage) -> int:
    """Tensors, and whatever else, that hold it. ``UNKNOWN`` where PyTorch does not tell."""
    try:
        return torch._C._storage_Use_Count(storage._cdata)
    except AttributeError:
        return UNKNOWN


ALONE = _users(torch.empty(1).untyped_storage())  # of one that only its own name holds

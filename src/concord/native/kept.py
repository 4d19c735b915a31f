"""Memory of large outputs that nobody holds is used again.

Pages of new memory cost more than the arithmetic: a layer of 64 channels on 64 images of 56x56 gives
51 MB, whose first writing takes 10 ms of 60.
"""

import torch
from torch import Tensor

LEAST = 2**21  # bytes: what is smaller comes from memory that the process has already


class Kept:
    """Empty tensors of one shape, in the memory of the last one where that is free."""

    def __init__(self, shape: tuple[int, ...], strides: tuple[int, ...], nbytes: int) -> None:
        self.shape, self.strides, self.large = shape, strides, nbytes >= LEAST
        self.storage: torch.UntypedStorage | None = None

    def empty(self) -> Tensor:
        """Contents are whatever was there."""
        if not self.large or ALONE == UNKNOWN:
            return torch.empty_strided(self.shape, self.strides)
        if self.storage is None or _users(self.storage) != ALONE:
            made = torch.empty_strided(self.shape, self.strides)
            self.storage = made.untyped_storage()
            return made
        return torch.empty(0).set_(self.storage, 0, self.shape, self.strides)


UNKNOWN = -1


def _users(storage: torch.UntypedStorage) -> int:
    """Tensors, and whatever else, that hold it. ``UNKNOWN`` where PyTorch does not tell."""
    try:
        return torch._C._storage_Use_Count(storage._cdata)
    except AttributeError:
        return UNKNOWN


ALONE = _users(torch.empty(1).untyped_storage())  # of one that only its own name holds

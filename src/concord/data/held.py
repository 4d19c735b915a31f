"""Samples that are decoded when they are first asked for and kept as long as there is room for them."""

from collections.abc import Callable
from typing import Generic, TypeVar

from torch import Tensor
from torch.utils.data import get_worker_info

from concord.data import memory

T = TypeVar("T", bound=tuple[Tensor, ...])
SHARE = 0.5  # of the memory that is free when the first sample is kept


class Held(Generic[T]):
    """``decode(i)`` by number: the same tensors every time, so whoever changes one changes a copy.

    ``most`` bounds the bytes that are kept by all worker processes together; default: half of what is free.
    Where a sample finds no room, it is decoded every time.
    """

    def __init__(self, decode: Callable[[int], T], most: int | None = None) -> None:
        self._decode, self._most = decode, most
        self._kept: dict[int, T] = {}
        self._bytes = 0

    def __getitem__(self, i: int) -> T:
        if i in self._kept:
            return self._kept[i]
        sample = self._decode(i)
        need = sum(tensor.numel() * tensor.element_size() for tensor in sample)
        if self._most is None:
            free = memory.available()
            self._most = 2**30 if free is None else int(SHARE * free)
        worker = get_worker_info()
        if self._bytes + need <= self._most // (1 if worker is None else worker.num_workers):
            self._kept[i] = sample
            self._bytes += need
        return sample

    def __getstate__(self) -> dict[str, object]:
        return vars(self) | {"_kept": {}, "_bytes": 0}  # another process decodes for itself

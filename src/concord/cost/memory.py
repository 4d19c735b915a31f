"""How many numbers a pass keeps, by the storages behind its tensors."""

from collections.abc import Iterable
from typing import Any
from weakref import ref

import torch
from torch import Tensor

from concord.errors import UsageError


def dense(x: Tensor) -> None:
    """UsageError for a tensor without a storage of its own: sparse ones, and others of a special layout."""
    if x.layout is not torch.strided:
        kind = str(x.layout).removeprefix("torch.")
        raise UsageError(
            f"only dense tensors can be counted, got one of layout {kind} and shape {tuple(x.shape)}; count a"
            " copy of the network with x.to_dense() in its place"
        )


class Memory:
    """Elements of the tensors that this pass has made: in all, alive now, and the most alive at once."""

    def __init__(self, kept: Iterable[int]) -> None:
        self.alive: dict[int, ref[Any] | None] = dict.fromkeys(kept)  # storages of weights never count
        self.viewed: dict[int, ref[Any]] = {}  # storages behind more than one tensor
        self.patched: dict[int, ref[Any]] = {}  # storages that were written over behind some of their tensors
        self.now = self.peak = 0

    def made(self, x: Tensor, *, beside: bool = False) -> int:
        """Elements that x takes besides what was there; 0 for a view and for what was changed in place.

        What a layer gives ``beside`` its output (indices, last states) takes none.
        """
        storage = x.untyped_storage()
        key = storage._cdata
        if key in self.alive:
            return 0
        elements = 0 if beside else storage.nbytes() // x.element_size()
        self.now += elements
        self.peak = max(self.peak, self.now)
        self.alive[key] = ref(storage, lambda _: self._freed(key, elements))
        return elements

    def view(self, x: Tensor) -> None:
        """x is a view of another tensor."""
        storage = x.untyped_storage()
        self.viewed[storage._cdata] = ref(storage)

    def patch(self, x: Tensor) -> None:
        """x was written over; if others share its storage, these are not what they were."""
        storage = x.untyped_storage()
        part = x._is_view() or x.numel() < storage.nbytes() // x.element_size()
        if part or _holds(self.viewed, storage):
            self.patched[storage._cdata] = ref(storage)

    def is_patched(self, x: Tensor) -> bool:
        return bool(self.patched) and _holds(self.patched, x.untyped_storage())

    def _freed(self, key: int, elements: int) -> None:
        del self.alive[key]
        self.viewed.pop(key, None)
        self.patched.pop(key, None)
        self.now -= elements


def _holds(storages: dict[int, ref[Any]], storage: torch.UntypedStorage) -> bool:
    """Whether it is there itself, and not one that was freed and had the same address."""
    kept = storages.get(storage._cdata)
    return kept is not None and kept() is not None

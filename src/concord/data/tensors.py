"""A user's tensors or arrays as a data set."""

import hashlib
import json
from collections.abc import Sequence
from functools import cached_property
from typing import Any, Literal

import torch
from torch import Tensor

from concord.data import trees
from concord.data.dataset import Draw, Spec, Tree
from concord.data.labels import class_labels
from concord.data.normalise import Normalise
from concord.errors import UsageError


class Tensors:
    """Inputs and targets in memory: tensors, arrays, or trees of them, whose first axis is that of the
    samples.

    >>> data = Tensors(numpy.zeros((100, 4)), numpy.arange(100) % 3)

    ``targets="labels"`` (N,) class numbers, which are looked at, with ``classes`` their names or their
    number; ``targets="any"`` whatever a task takes. float64 becomes float32. Raises UsageError that names
    the sample.
    """

    def __init__(
        self,
        x: Any,
        y: Any,
        *,
        classes: int | Sequence[str] | None = None,
        targets: Literal["labels", "any"] = "labels",
        normalise: Normalise | None = None,
        names: Sequence[str] | None = None,
    ) -> None:
        self._x: Tree = trees.mapped(x, lambda given: trees.as_tensor(given, "inputs"))
        self._y: Tree = trees.mapped(y, lambda given: trees.as_tensor(given, "targets"))
        self._length = _common_length(self._x, self._y)
        self._names = names
        if names is not None and len(names) != self._length:
            raise UsageError(f"{self._length} samples, but {len(names)} names")
        trees.refuse_not_finite(self._x, "inputs", self.name)
        known: tuple[str, ...] = ()
        if targets == "labels":
            if not isinstance(self._y, Tensor):
                raise UsageError('labels must be one tensor (N,); for other targets give targets="any"')
            known = class_labels(self._y, classes, self.name)
            self._y = self._y.to(torch.int64)
        else:
            trees.refuse_not_finite(self._y, "targets", self.name)
        self.spec = Spec("tensors", trees.shapes(self._x), trees.kinds(self._x), known, normalise)

    def __len__(self) -> int:
        return self._length

    def batch(self, index: Tensor, draw: Draw | None) -> tuple[Tree, Tree]:
        x, y = (trees.mapped(tree, lambda t: t[index.to(t.device)]) for tree in (self._x, self._y))
        return x, y

    def name(self, i: int) -> str:
        return self._names[i] if self._names is not None else f"sample {i}"

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over shapes, types, classes and every value."""
        digest = hashlib.sha256(json.dumps(self.spec.classes).encode())
        for tree in (self._x, self._y):
            for path, tensor in trees.leaves(tree):
                digest.update(f"{path} {tuple(tensor.shape)} {tensor.dtype}".encode())
                digest.update(tensor.cpu().contiguous().view(-1).view(torch.uint8).numpy().data)
        return digest.hexdigest()


def _common_length(x: Tree, y: Tree) -> int:
    found = [
        (f"{what}{path}", tensor)
        for what, tree in (("inputs", x), ("targets", y))
        for path, tensor in trees.leaves(tree)
    ]
    if not found:
        raise UsageError("there are no inputs")
    for what, tensor in found:
        if tensor.ndim == 0:
            raise UsageError(f"{what} is a single number; the first axis must be that of the samples")
    lengths = {what: len(tensor) for what, tensor in found}
    if len(set(lengths.values())) > 1:
        given = ", ".join(f"{what} {length:,}" for what, length in lengths.items())
        raise UsageError(f"inputs and targets need the same number of samples, got {given}")
    length = next(iter(lengths.values()))
    if not length:
        raise UsageError("there are no samples")
    return length

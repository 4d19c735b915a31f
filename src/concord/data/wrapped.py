"""A user's torch.utils.data.Dataset (map style) as a data set."""

import hashlib
import json
import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import default_collate

from concord.data import draws, trees
from concord.data.dataset import Draw, Spec, Tree
from concord.data.images.transforms import own_draws
from concord.data.labels import class_labels
from concord.data.normalise import Normalise
from concord.errors import ConcordError, DataError, UsageError

STILL = Draw(0, -1)  # what is drawn for evaluation, every time alike


class Wrapped:
    """Samples ``dataset[i]`` = (input, target), put together by PyTorch's ``default_collate``.

    What the dataset draws from torch, numpy or ``random`` is seeded for each sample with (seed, epoch,
    sample), so that its own augmentation is the same whatever the batch, the worker and the step at which
    a run was resumed; for evaluation it is the same every time. ``fingerprint``: of the data, if it is
    known; else it is that of the length and of the first, the middle and the last sample.

    Raises DataError that names the sample: one that is not there, has another shape than sample 0, or
    holds NaN.
    """

    def __init__(
        self,
        dataset: Any,
        *,
        classes: int | Sequence[str] | None = None,
        targets: Literal["labels", "any"] = "labels",
        normalise: Normalise | None = None,
        fingerprint: str | None = None,
    ) -> None:
        self._dataset, self._targets, self._fingerprint = dataset, targets, fingerprint
        self._length = _length(dataset)
        self._first = _sizes(self._pair(0, STILL))
        x, y = self._batch(torch.arange(1), STILL)
        known: tuple[str, ...] = ()
        if targets == "labels":
            if classes is None:
                raise UsageError("give classes: the names of the classes, or their number")
            assert isinstance(y, Tensor)
            known = class_labels(y, classes, self.name)
        self.spec = Spec("dataset", trees.shapes(x), trees.kinds(x), known, normalise)

    def __len__(self) -> int:
        return self._length

    def batch(self, index: Tensor, draw: Draw | None) -> tuple[Tree, Tree]:
        x, y = self._batch(index, draw or STILL)
        if self._targets == "labels":
            assert isinstance(y, Tensor)
            try:
                class_labels(y, self.spec.classes, lambda i: self.name(int(index[i])), some=True)
            except UsageError as error:
                raise DataError(str(error)) from None
        return x, y

    def name(self, i: int) -> str:
        return f"sample {i}"

    @cached_property
    def fingerprint(self) -> str:
        if self._fingerprint is not None:
            return self._fingerprint
        digest = hashlib.sha256(json.dumps([self._length, self.spec.classes]).encode())
        for i in (0, self._length // 2, self._length - 1):
            for tree in self._batch(torch.tensor([i]), STILL):
                for _, tensor in trees.leaves(tree):
                    digest.update(tensor.contiguous().view(-1).view(torch.uint8).numpy().data)
        return digest.hexdigest()

    def _batch(self, index: Tensor, draw: Draw) -> tuple[Tree, Tree]:
        pairs = []
        for i in index.tolist():
            pair = self._pair(i, draw)
            now, first = _sizes(pair), self._first
            if now != first:
                raise DataError(
                    f"{self.name(i)} has the shapes {now}, sample 0 has {first}; all need the same"
                )
            pairs.append(pair)
        try:
            x, y = default_collate(pairs)
        except TypeError as error:
            raise DataError(
                f"samples must be tensors, arrays, numbers, or trees of them ({str(error).splitlines()[0]}); "
                "give the dataset a transform that makes tensors"
            ) from error
        x, y = (trees.mapped(tree, lambda t: trees.as_tensor(t, "a sample")) for tree in (x, y))
        try:
            trees.refuse_not_finite(x, "inputs", lambda i: self.name(int(index[i])), some=True)
        except UsageError as error:
            raise DataError(str(error)) from None
        return x, y

    def _pair(self, i: int, draw: Draw) -> tuple[Any, Any]:
        start = int(draws.bits(np.array([i]), "dataset", draw.seed, draw.epoch)[0])
        with _seeded(start):
            item = self._item(i)
        if not isinstance(item, tuple | list) or len(item) != 2:
            raise DataError(f"{self.name(i)} must be a pair (input, target), got {type(item).__name__}")
        return item[0], item[1]

    def _item(self, i: int) -> Any:
        try:
            return self._dataset[i]
        except ConcordError:
            raise
        except IndexError as error:
            raise DataError(
                f"the dataset has a length of {self._length:,}, but there is no {self.name(i)} ({error})"
            ) from error
        except Exception as error:  # a foreign dataset may raise anything
            raise DataError(f"{self.name(i)} cannot be read ({type(error).__name__}: {error})") from error


def _sizes(pair: tuple[Any, Any]) -> Any:
    return trees.mapped(pair, lambda leaf: tuple(np.shape(leaf)))


def _length(dataset: Any) -> int:
    if not hasattr(dataset, "__getitem__") or not hasattr(dataset, "__len__"):
        raise UsageError(
            f"expected a dataset with a length and items by number, got {type(dataset).__name__}; "
            "an IterableDataset is given as a DataLoader"
        )
    length = len(dataset)
    if length < 1:
        raise UsageError("the dataset is empty")
    return length


@contextmanager
def _seeded(start: int) -> Iterator[None]:
    """Generators of torch (CPU), numpy and ``random`` started from a seed, and put back."""
    numpy_before, before = np.random.get_state(), random.getstate()  # noqa: NPY002  what users draw from
    try:
        with own_draws() as begin:
            begin(start)
            np.random.seed(start % 2**32)  # noqa: NPY002
            random.seed(start)
            yield
    finally:
        np.random.set_state(numpy_before)  # noqa: NPY002
        random.setstate(before)

"""Batches of data sets and of a user's loaders, each a pure function of (seed, epoch, step)."""

import hashlib
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves
from torch.utils.data import DataLoader

from concord.data.batches import indices, ranges, steps_per_epoch
from concord.data.dataset import Dataset, Draw, Tree
from concord.data.loader import Loader, Wanted
from concord.errors import DataError, UsageError
from concord.runs.given import Parts
from concord.training.batch import Batch, count
from concord.training.evaluate import Samples
from concord.training.job import Feed
from concord.training.seeding import mix, seeded

Pair = tuple[Tree, Tree]


def feed_of(parts: Parts, *, batch_size: int, seed: int, workers: int = 0) -> Feed:
    """Batches of these parts. Where there is no test part, the validation part is scored in its place."""
    loader = Loader(
        {
            name: part
            for name, part in (("train", parts.train), ("valid", parts.valid), ("test", parts.test))
            if part is not None and not isinstance(part, DataLoader)
        },
        workers,
    )
    notices = list(parts.notices)
    if parts.test is None:
        other = "validation" if parts.valid is not None else "training"
        notices.append(f"no test data was given: test figures are those of the {other} data")
    steps, train = _training(parts.train, loader, batch_size, seed)
    valid = _held(parts.valid, "valid", loader)
    scored = _held(parts.test, "test", loader) or valid or _held(parts.train, "train", loader)
    assert scored is not None
    return Feed(
        steps=steps,
        train=train,
        valid=valid or scored,
        test=scored,
        has_valid=valid is not None,
        fingerprint=_fingerprint(parts),
        notices=tuple(notices),
    )


def _fingerprint(parts: Parts) -> str:
    """Of all parts; a loader is known by its length alone."""
    known = [
        f"loader of {_length(part)}" if isinstance(part, DataLoader) else part and part.fingerprint
        for part in (parts.train, parts.valid, parts.test)
    ]
    return hashlib.sha256(repr(known).encode()).hexdigest()


def _length(loader: "DataLoader[Any]") -> int | None:
    try:
        return len(loader)
    except TypeError:  # of an IterableDataset
        return None


def _training(
    part: "Dataset | DataLoader[Any]", loader: Loader, batch_size: int, seed: int
) -> tuple[int, Callable[[int, int], Iterator[Batch]]]:
    if isinstance(part, DataLoader):
        source = _Repeated(part, seed)
        return source.steps, source.batches
    samples = len(part)

    def batches(epoch: int, start: int) -> Iterator[Batch]:
        chosen = indices(samples, batch_size=batch_size, seed=seed, epoch=epoch, start=start)
        made = loader.batches(Wanted("train", index, Draw(seed, epoch)) for index in chosen)
        normalise = part.spec.normalise
        return (Batch((_normalised(x, normalise),), (y,)) for x, y in made)

    return steps_per_epoch(samples, batch_size), batches


def _normalised(x: Tree, normalise: Callable[[Tensor], Tensor] | None) -> Tree:
    return normalise(x) if normalise is not None and isinstance(x, Tensor) else x


def _held(
    part: "Dataset | DataLoader[Any] | None", name: str, loader: Loader
) -> Callable[[], Samples] | None:
    if part is None:
        return None
    if isinstance(part, DataLoader):
        return lambda: (_pair(item) for item in part)
    normalise = part.spec.normalise

    def samples() -> Iterator[Pair]:
        made = loader.batches(Wanted(name, index) for index in ranges(len(part)))
        return ((_normalised(x, normalise), y) for x, y in made)

    return samples


class _Repeated:
    """A user's loader, epoch after epoch. Its random order is drawn from a seed for each (epoch, step).

    Where every draw of the loader comes from the generators of torch, numpy or Python in this process, a
    resume within an epoch is exact: the batches before it are asked for again and passed over. In a loader
    whose workers or sampler have generators of their own, a resume is exact at the ends of epochs.
    """

    def __init__(self, loader: "DataLoader[Any]", seed: int) -> None:
        self.loader, self.seed = loader, seed
        self.shapes: list[tuple[int, ...]] | None = None  # of one sample
        self.steps = _length(loader) or self._counted()
        if not self.steps:
            raise UsageError("the loader is empty: it gives no batch")

    def _counted(self) -> int:
        """Batches of an epoch of a loader that does not know its length: they are counted once."""
        return sum(1 for _ in self._epoch(0))

    def _epoch(self, epoch: int) -> Iterator[Pair]:
        cpu, start = torch.device("cpu"), mix(self.seed, epoch)
        with seeded(mix(start, 0), cpu):
            iterator = iter(self.loader)
        step = 0
        while True:
            step += 1
            with seeded(mix(start, step), cpu):
                item = next(iterator, None)
            if item is None:
                return
            yield _pair(item)

    def batches(self, epoch: int, start: int) -> Iterator[Batch]:
        made = 0
        for x, y in self._epoch(epoch):
            made += 1
            if made > self.steps:
                raise self._other_length(epoch, f"more than {self.steps}")
            self._check(x, epoch, made)
            if made > start:
                yield Batch((x,), (y,))
        if made < self.steps:
            raise self._other_length(epoch, str(made))

    def _other_length(self, epoch: int, given: str) -> DataError:
        return DataError(
            f"the loader gave {given} batches in epoch {epoch + 1}, expected {self.steps}: every epoch needs"
            " the same number"
        )

    def _check(self, x: Tree, epoch: int, step: int) -> None:
        shapes = [tuple(leaf.shape[1:]) for leaf in tree_leaves(x) if isinstance(leaf, Tensor)]
        if self.shapes is None:
            self.shapes = shapes
        elif len(shapes) != len(self.shapes):
            raise DataError(
                f"batch {step} of epoch {epoch + 1} has {len(shapes)} inputs, the first one has"
                f" {len(self.shapes)}"
            )


def _pair(item: Any) -> Pair:
    if not isinstance(item, tuple | list) or len(item) != 2:
        given = f"{type(item).__name__}" + (f" of {len(item)}" if isinstance(item, tuple | list) else "")
        raise UsageError(f"a loader must give pairs (inputs, targets), got {given}")
    x, y = item
    x = tuple(x) if isinstance(x, list) else x
    if count(x) != count(y):
        raise DataError(f"a batch has {count(x)} inputs and {count(y)} targets")
    return x, y

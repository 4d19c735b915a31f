"""Samples and targets of data sets and of a user's loaders, checked and ready for members."""

from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves
from torch.utils.data import DataLoader

from concord.data import trees
from concord.data.batches import AT_ONCE, ranges
from concord.data.dataset import Bounded, Dataset, Spec, Streamed, Tree
from concord.data.labels import class_labels
from concord.data.loader import Loader, Wanted
from concord.errors import ConcordError, DataError, UsageError
from concord.tasks.classify import Classify
from concord.tasks.task import Task
from concord.training.batch import count
from concord.training.seeding import mix, seeded

Pair = tuple[Tree, Tree]
Try = Callable[[Tree, Tree, str], None]  # inputs, targets, and what a message calls them
END = object()
HELD = 0  # the seed of what a loader of held-out samples draws, every time alike


def normalised(spec: Spec, x: Tree) -> Tree:
    """A batch as members see it."""
    return spec.normalise(x) if spec.normalise is not None and isinstance(x, Tensor) else x


def first_two(part: Dataset) -> Pair:
    """Two samples to try members with, or one where a batch has one."""
    x, y = part.batch(torch.arange(min(2, at_once(part), len(part))), None)
    return normalised(part.spec, x), y


def first_inputs(loader: "DataLoader[Any]") -> Tree:
    """Inputs of the first batch of a loader."""
    with closing(items_of(loader, HELD, "the loader")) as items:
        item = next(items, None)
    if item is None:
        raise UsageError("the loader is empty: it gives no batch")
    x, _ = _pair(item, "batch 1 of the loader")
    return x


def _pair(item: Any, where: str) -> Pair:
    """Inputs and targets of a batch as tensors; UsageError if it is no pair."""
    if not isinstance(item, tuple | list) or len(item) != 2:
        given = type(item).__name__ + (f" of {len(item)}" if isinstance(item, tuple | list) else "")
        raise UsageError(f"{where} must be a pair (inputs, targets), got {given}")
    x, y = (trees.mapped(tree, lambda leaf: trees.as_tensor(leaf, where)) for tree in item)
    return (tuple(x) if isinstance(x, list) else x), y


def in_order(part: Dataset, name: str, loader: Loader) -> Iterator[Pair]:
    """All samples of a part of the loader in stored order, nothing drawn; of streams one piece of each."""
    made = loader.batches(Wanted(name, index) for index in ranges(len(part), at_once(part)))
    return ((normalised(part.spec, x), y) for x, y in made)


def at_once(part: Dataset) -> int:
    """Samples of a batch for evaluation: one of each stream, as many as the data set allows, or 500."""
    if isinstance(part, Streamed):
        return part.streams
    return part.at_once if isinstance(part, Bounded) else AT_ONCE


class Reader:
    """A user's loader, read batch by batch: each is checked, and tried where it has a new shape.

    What the loader draws in this process, from the generators of torch, numpy or Python or from its own, is a
    function of the seed and the number of the batch.
    """

    def __init__(
        self, loader: "DataLoader[Any]", task: Task[Any], attempt: Try, name: str = "the loader"
    ) -> None:
        self.loader, self.task, self.attempt, self.name = loader, task, attempt, name
        self._tried: set[object] = set()

    def length(self) -> int | None:
        """Batches of an epoch; None of an IterableDataset that does not know."""
        try:
            return len(self.loader)
        except TypeError:
            return None

    def batches(self, seed: int = HELD, epoch: int | None = None) -> Iterator[Pair]:
        """The pairs (inputs, targets) of one pass."""
        for step, item in enumerate(items_of(self.loader, seed, self.name), 1):
            where = f"batch {step} of {self.name}" + ("" if epoch is None else f" in epoch {epoch + 1}")
            x, y = self._checked(item, where)
            shape = tuple(leaf.shape[1:] for leaf in tree_leaves(x))
            if shape not in self._tried:
                self.attempt(x, y, where)
                self._tried.add(shape)
            yield x, y

    def _checked(self, item: Any, where: str) -> Pair:
        x, y = _pair(item, where)
        try:
            if count(x) != count(y):
                raise UsageError(f"it has {count(x)} inputs and {count(y)} targets")
            trees.refuse_not_finite(x, "inputs", _sample)
            return x, targets_of(y, self.task, _sample)
        except UsageError as error:
            raise DataError(f"{where}: {error}") from error


def items_of(loader: "DataLoader[Any]", seed: int, name: str) -> Generator[Any, None, None]:
    """What a loader gives in one pass, unchecked, as ``Reader`` says; DataError for what goes wrong in it."""
    step, cpu = 0, torch.device("cpu")
    try:
        with _own_generators_at(loader, mix(seed, 0)):
            with seeded(mix(seed, 0), cpu):
                iterator = iter(loader)
            while True:
                step += 1
                with seeded(mix(seed, step), cpu):
                    item = next(iterator, END)
                if item is END:
                    return
                yield item
    except (ConcordError, MemoryError):
        raise
    except Exception as error:  # a foreign loader may raise anything
        raise DataError(f"{name} failed at batch {step}: {type(error).__name__}: {error}") from error


@contextmanager
def _own_generators_at(loader: "DataLoader[Any]", seed: int) -> Iterator[None]:
    """Generators that the loader or its samplers were given start at this seed; they are put back."""
    batches = getattr(loader, "batch_sampler", None)
    places = (loader, getattr(loader, "sampler", None), batches, getattr(batches, "sampler", None))
    given = {
        id(g): g for place in places if isinstance(g := getattr(place, "generator", None), torch.Generator)
    }
    before = [(generator, generator.get_state()) for generator in given.values()]
    for generator in given.values():
        generator.manual_seed(seed)
    try:
        yield
    finally:
        for generator, state in before:
            generator.set_state(state)


def _sample(i: int) -> str:
    return f"sample {i} of the batch"


def targets_of(y: Tree, task: Task[Any], name: Callable[[int], str]) -> Tree:
    """Labels as class numbers (B,) after a look at them, or shares of classes (B, K); others as they are."""
    if not isinstance(task, Classify):
        return y
    if isinstance(y, Tensor) and y.is_floating_point() and y.shape[1:] == (task.classes,):
        return y
    if not isinstance(y, Tensor):
        raise UsageError(f"labels must be one tensor (B,), got {type(y).__name__}")
    class_labels(y, task.classes, name)
    return y.to(torch.int64)

"""Batches of data sets and of a user's loaders, each a pure function of (seed, epoch, step)."""

import hashlib
from collections.abc import Callable, Iterator
from typing import Any

from torch.utils.data import DataLoader

from concord.data.batches import indices, steps_per_epoch
from concord.data.dataset import Dataset, Draw
from concord.data.loader import Loader, Wanted
from concord.errors import DataError, UsageError
from concord.runs.given import Parts
from concord.runs.samples import Reader, Try, in_order, items_of, normalised
from concord.tasks.task import Task
from concord.training.batch import Batch
from concord.training.evaluate import Samples
from concord.training.job import Feed
from concord.training.seeding import mix


def feed_of(
    parts: Parts,
    task: Task[Any],
    attempt: Try,
    *,
    batch_size: int,
    seed: int,
    workers: int = 0,
    shuffle: bool = True,
) -> Feed:
    """Batches of these parts. Where there is no test part, the validation part is scored in its place.

    ``attempt`` is called with batches of loaders that have a new shape, to refuse what members cannot
    take.
    """
    given = {"data": parts.train, "valid": parts.valid, "test": parts.test}
    sets = {
        name: part for name, part in given.items() if part is not None and not isinstance(part, DataLoader)
    }
    loader = Loader(sets, workers)

    def held(name: str) -> Callable[[], Samples] | None:
        part = given[name]
        if part is None:
            return None
        if isinstance(part, DataLoader):
            return Reader(part, task, attempt, f"the loader of {name}").batches
        return lambda: in_order(part, name, loader)

    valid = held("valid")
    scored = held("test") or valid or held("data")
    assert scored is not None
    if isinstance(parts.train, DataLoader):
        repeated = _Repeated(Reader(parts.train, task, attempt), seed)
        steps = repeated.steps
        train: Callable[[int, int], Iterator[Batch]] = repeated.batches
    else:
        steps = steps_per_epoch(len(parts.train), batch_size)
        train = _of_set(parts.train, loader, batch_size, seed, shuffle)
    return Feed(
        steps=steps,
        train=train,
        valid=valid or scored,
        test=scored,
        has_valid=valid is not None,
        fingerprint=fingerprint_of(parts),
        notices=(*parts.notices, *_instead_of_test(parts)),
        close=loader.close,
    )


def _instead_of_test(parts: Parts) -> Iterator[str]:
    """What is scored where no test data were given."""
    if parts.test is None:
        other = "validation" if parts.valid is not None else "training"
        yield f"no test data was given: test figures are those of the {other} data"


def _of_set(
    part: Dataset, loader: Loader, batch_size: int, seed: int, shuffle: bool
) -> Callable[[int, int], Iterator[Batch]]:
    def batches(epoch: int, start: int) -> Iterator[Batch]:
        chosen = indices(
            len(part), batch_size=batch_size, seed=seed, epoch=epoch, start=start, shuffle=shuffle
        )
        made = loader.batches(Wanted("data", index, Draw(seed, epoch)) for index in chosen)
        return (Batch((normalised(part.spec, x),), (y,)) for x, y in made)

    return batches


class _Repeated:
    """A user's loader, epoch after epoch. Its random order is drawn from a seed for each (epoch, step).

    A resume within an epoch asks for the batches before it again and passes over them. That is exact where
    all that the loader draws comes from generators that ``Reader`` knows; with a sampler of the user's own
    that keeps a state, a resume is exact at the ends of epochs if an epoch does not depend on the one before.
    """

    def __init__(self, reader: Reader, seed: int) -> None:
        self.reader, self.seed = reader, seed
        # batches of a loader that does not know its length are counted once
        self.steps = reader.length() or sum(1 for _ in items_of(reader.loader, mix(seed, 0), reader.name))
        if not self.steps:
            raise UsageError("the loader is empty: it gives no batch")

    def batches(self, epoch: int, start: int) -> Iterator[Batch]:
        made = 0
        for x, y in self.reader.batches(mix(self.seed, epoch), epoch):
            made += 1
            if made > self.steps:
                raise self._other_length(epoch, f"more than {self.steps}")
            if made > start:
                yield Batch((x,), (y,))
        if made < self.steps:
            raise self._other_length(epoch, str(made))

    def _other_length(self, epoch: int, given: str) -> DataError:
        return DataError(
            f"the loader gave {given} batches in epoch {epoch + 1}, expected {self.steps}: every epoch needs"
            " the same number"
        )


def fingerprint_of(parts: Parts) -> str:
    """Of all parts; a loader is known by its length alone."""
    known = [_known(part) for part in (parts.train, parts.valid, parts.test)]
    return hashlib.sha256(repr(known).encode()).hexdigest()


def _known(part: "Dataset | DataLoader[Any] | None") -> str | None:
    if part is None or not isinstance(part, DataLoader):
        return None if part is None else part.fingerprint
    try:
        return f"loader of {len(part)}"
    except TypeError:  # of an IterableDataset
        return "loader"

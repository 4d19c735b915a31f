"""What a Python user gives as data, as data sets: tensors, arrays, data sets, loaders, or loaded splits."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import DataLoader

from concord.data import draws
from concord.data.dataset import Dataset, Draw, Spec, Tree
from concord.data.splits import Splits
from concord.data.tensors import Tensors
from concord.data.wrapped import Wrapped
from concord.errors import UsageError
from concord.tasks.classify import Classify
from concord.tasks.task import Task

Given = Any  # (x, y), a Dataset, a torch Dataset, a DataLoader; or Splits


@dataclass(frozen=True, eq=False)
class View:
    """Some samples of a data set, in that order."""

    whole: Dataset
    numbers: torch.Tensor  # (N,) int64

    @property
    def spec(self) -> Spec:
        return self.whole.spec

    @property
    def fingerprint(self) -> str:
        digest = hashlib.sha256(self.numbers.numpy().tobytes())
        return f"{self.whole.fingerprint}/{digest.hexdigest()}"

    def __len__(self) -> int:
        return len(self.numbers)

    def batch(self, index: torch.Tensor, draw: Draw | None) -> tuple[Tree, Tree]:
        return self.whole.batch(self.numbers[index], draw)

    def name(self, i: int) -> str:
        return self.whole.name(int(self.numbers[i]))


@dataclass(frozen=True, eq=False)
class Parts:
    """Samples to train on, to validate on and to test on; each a data set or a user's loader."""

    train: "Dataset | DataLoader[Any]"
    valid: "Dataset | DataLoader[Any] | None"
    test: "Dataset | DataLoader[Any] | None"
    notices: tuple[str, ...] = ()


def parts_of(data: Given, valid: Given, test: Given, *, task: Task[Any], seed: int) -> Parts:
    """The parts of a training. ``valid`` and ``test`` are data, a fraction to cut off, or None.

    A fraction is cut off at random as a function of ``seed``, first for the test. Raises UsageError for what
    is not data, and for a fraction of a loader.
    """
    if isinstance(data, Splits):
        return Parts(data.train, data.valid if len(data.valid) else None, data.test, data.notices)
    train = part_of(data, task, "data")
    train, tested = _cut(train, test, task, "test", seed)
    train, held = _cut(train, valid, task, "valid", seed)
    return Parts(train, held, tested)


def part_of(data: Given, task: Task[Any], what: str = "data") -> "Dataset | DataLoader[Any]":
    """One data set; UsageError that says what to give."""
    classes = task.classes if isinstance(task, Classify) else None
    targets: Any = "labels" if isinstance(task, Classify) else "any"
    if isinstance(data, DataLoader):
        return data
    if isinstance(data, str | Path):
        raise UsageError(f"{what} is a path: read it with concord.load_data({str(data)!r}) first")
    if isinstance(data, Splits):
        raise UsageError(f"{what} is all parts of a data set: give its .train, .valid or .test")
    if isinstance(data, tuple | list):
        if len(data) != 2:
            raise UsageError(f"{what} is a pair (x, y) of inputs and targets, got {len(data)} things")
        return Tensors(data[0], data[1], classes=classes, targets=targets)
    if hasattr(data, "batch") and hasattr(data, "spec"):
        return data  # a Dataset of concord
    if hasattr(data, "__getitem__") and hasattr(data, "__len__") and not isinstance(data, torch.Tensor):
        return Wrapped(data, classes=classes, targets=targets)
    raise UsageError(
        f"{what} is a pair (x, y), a torch Dataset or DataLoader, or what concord.load_data gives; got"
        f" {type(data).__name__}"
    )


def _cut(
    train: "Dataset | DataLoader[Any]", given: Given, task: Task[Any], what: str, seed: int
) -> "tuple[Dataset | DataLoader[Any], Dataset | DataLoader[Any] | None]":
    if given is None or (isinstance(given, int | float) and not given):
        return train, None
    if not isinstance(given, int | float):
        return train, part_of(given, task, what)
    if isinstance(given, bool) or not 0 < given < 1:
        raise UsageError(f"{what} is data, or a fraction above 0 and below 1 to cut off; got {given}")
    if isinstance(train, DataLoader):
        raise UsageError(f"a loader cannot be cut: give {what} as data of its own, or {what}=None")
    order = torch.from_numpy(draws.permutation(len(train), what, seed))
    count = max(1, round(given * len(train)))
    if count >= len(train):
        raise UsageError(f"{len(train)} samples are too few to cut {what}={given} off")
    return View(train, order[count:].sort().values), View(train, order[:count].sort().values)


def classes_of(data: Given) -> Sequence[str] | int | None:
    """The classes that data of images or labels name; None where nobody knows."""
    if isinstance(data, Splits):
        return data.train.classes
    spec = getattr(data, "spec", None)
    if isinstance(spec, Spec):
        return spec.classes or None
    if isinstance(data, tuple | list) and len(data) == 2:
        return Tensors(data[0], data[1]).spec.classes
    return getattr(data, "classes", None) or getattr(getattr(data, "dataset", None), "classes", None)

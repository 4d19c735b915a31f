"""What a Python user gives as data, as data sets: tensors, arrays, data sets, loaders, or loaded splits."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset

from concord.data import draws, trees
from concord.data.dataset import Dataset, Draw, Spec, Streamed, Tree
from concord.data.loaded import Loaded
from concord.data.splits import Splits
from concord.data.tensors import Tensors
from concord.data.wrapped import Wrapped
from concord.errors import UsageError, amount
from concord.runs.inputs import arrays, of_concord
from concord.runs.samples import first_inputs, first_two
from concord.tasks.classify import Classify
from concord.tasks.task import Task

Given = Any  # (x, y), a Dataset, a torch Dataset, a DataLoader; or what is Loaded
AUTO = "auto"  # of ``valid``: a tenth of data that can be cut, or what the data bring with them
TENTH = 0.1


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
    workers: int = 0  # processes that make batches, unless something else is asked for

    def sets(self) -> dict[str, Dataset]:
        """The parts that are data sets, by the names of the arguments."""
        given = {"data": self.train, "valid": self.valid, "test": self.test}
        return {n: part for n, part in given.items() if part is not None and not isinstance(part, DataLoader)}


def parts_of(data: Given, valid: Given, test: Given, *, task: Task[Any], seed: int) -> Parts:
    """The parts of a training. ``valid`` and ``test`` are data, a fraction to cut off, or None.

    A fraction is cut off at random as a function of ``seed``, first for the test. Of a loader
    ``valid="auto"`` cuts nothing, and a notice says so. Raises UsageError for what is not data, and for a
    fraction of a loader.
    """
    if isinstance(data, Loaded):
        return _of_splits(data, valid, test)
    if _auto(valid):
        if what := _whole(data):
            parts = parts_of(data, None, test, task=task, seed=seed)
            return replace(parts, notices=(f"{what} cannot be cut, so nothing is validated on",))
        valid = TENTH
    train = part_of(data, task, "data")
    train, tested = _cut(train, test, task, "test", seed)
    train, held = _cut(train, valid, task, "valid", seed)
    return Parts(train, held, tested)


def _of_splits(data: Loaded, valid: Given, test: Given) -> Parts:
    """What was loaded has parts of its own, of which the validation part can be left out."""
    if test is not None or not (valid is None or _auto(valid)):
        raise UsageError(
            "what concord.load_data gives has parts of its own: leave valid and test out (valid=None trains"
            " without validation), or give its .train as data"
        )
    held = data.valid if _auto(valid) and data.valid is not None and len(data.valid) else None
    workers = data.workers if isinstance(data, Splits) else 0
    return Parts(data.train, held, data.test, data.notices, workers)


def _auto(valid: Given) -> bool:
    return isinstance(valid, str) and valid == AUTO


def part_of(data: Given, task: Task[Any], what: str = "data") -> "Dataset | DataLoader[Any]":
    """One data set; UsageError that says what to give."""
    refuse_other(data, what)
    classes = task.classes if isinstance(task, Classify) else None
    targets: Any = "labels" if isinstance(task, Classify) else "any"
    if isinstance(data, DataLoader):
        return data
    if isinstance(data, Loaded):
        raise UsageError(f"{what} is all parts of a data set: give its .train, .valid or .test")
    try:
        if isinstance(data, tuple | list):
            x, y = arrays(data[0]), arrays(data[1])
            if targets == "labels" and isinstance(y, tuple | list | dict):
                raise UsageError(
                    f"labels must be one tensor or array (N,), got {type(y).__name__};"
                    " give batches as a DataLoader"
                )
            return Tensors(x, y, classes=classes, targets=targets)
        if of_concord(data):
            made: Dataset = data
            return made
        return Wrapped(data, classes=classes, targets=targets)
    except UsageError as error:
        raise (error if what == "data" else UsageError(f"{what}: {error}")) from error.__cause__


def refuse_other(data: Given, what: str = "data") -> None:
    """UsageError for what is not data, with what to do."""
    if isinstance(data, str | Path):
        raise UsageError(f"{what} is a path: read it with concord.load_data({str(data)!r}) first")
    if isinstance(data, IterableDataset):
        raise UsageError(f"{what} is an IterableDataset: give it as a DataLoader")
    if isinstance(data, tuple | list):
        if len(data) != 2:
            raise UsageError(
                f"{what} is a pair (x, y) of inputs and targets, got {amount(len(data), 'value')}"
            )
        return
    if isinstance(data, DataLoader | Loaded) or of_concord(data):
        return
    sized = hasattr(data, "__getitem__") and hasattr(data, "__len__")
    if not sized or isinstance(data, Tensor | np.ndarray | dict):
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
    if isinstance(train, DataLoader) or _whole(train):
        raise UsageError(f"{_whole(train)} cannot be cut: give {what} as data of its own, or {what}=None")
    order = torch.from_numpy(draws.permutation(len(train), what, seed))
    count = max(1, round(given * len(train)))
    if count >= len(train):
        raise UsageError(f"{amount(len(train), 'sample')}: too few to cut {what}={given} off")
    return View(train, order[count:].sort().values), View(train, order[:count].sort().values)


def _whole(data: Given) -> str:
    """What data are called that cannot be cut at random; nothing for others."""
    if isinstance(data, DataLoader):
        return "a loader"
    return "a set of streams" if isinstance(data, Streamed) else ""


def classes_of(data: Given) -> int | None:
    """The number of classes of data that name them; None where they do not."""
    return len(class_names(data)) or None


def class_names(data: Given) -> tuple[Any, ...]:
    """The classes of data that name them; () where they do not."""
    if isinstance(data, Loaded):
        return tuple(data.train.classes)
    spec = getattr(data, "spec", None)
    names = spec.classes if isinstance(spec, Spec) else getattr(data, "classes", None)
    if names is None and hasattr(data, "dataset"):
        return class_names(data.dataset)
    return tuple(names) if isinstance(names, Sequence) else ()


def sample_inputs(data: Given) -> Tree:
    """Inputs of the first two samples, or of the first batch of a loader, to see what members give."""
    if isinstance(data, DataLoader):
        return first_inputs(data)
    if isinstance(data, Loaded):
        data = data.train
    if isinstance(data, tuple | list):
        x, y = (trees.mapped(arrays(tree), lambda leaf: leaf[:2] if np.ndim(leaf) else leaf) for tree in data)
        data = Tensors(x, y, targets="any")
    elif not of_concord(data):
        data = Wrapped(data, targets="any")
    return first_two(data)[0]

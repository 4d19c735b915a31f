"""Training and testing one classifier, with a clock; and choosing its settings on validation samples."""

import time
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from concord.baseline.cost import Cost
from concord.baseline.methods import Method
from concord.baseline.samples import Samples, need_two_classes

FEW = 5


@dataclass(frozen=True, eq=False)
class Measured:
    """One classifier after training: what it says about every test sample, and what that took."""

    name: str
    settings: Mapping[str, float]
    images: int  # that it was trained on
    predicted: NDArray[np.int64]  # (N,) class numbers
    error: float
    fit_seconds: float
    predict_seconds: float
    cost: Cost
    notices: tuple[str, ...]


def measure(
    method: Method, settings: Mapping[str, float], train: Samples, test: Samples, seed: int = 0
) -> Measured:
    """Train on ``train`` and predict all of ``test`` in one call, after a few samples outside of the clock.

    Raises UsageError if the training samples are of one class.
    """
    need_two_classes(train)
    model = method.build(settings, seed)
    began = time.perf_counter()
    notices = _fitted(model, train)
    trained = time.perf_counter()
    model.predict(test.x[:FEW])  # what is made at the first call belongs to no prediction
    asked = time.perf_counter()
    predicted = model.predict(test.x)
    done = time.perf_counter()
    return Measured(
        method.name,
        dict(settings),
        len(train),
        predicted,
        float(np.mean(predicted != test.y)),
        trained - began,
        done - asked,
        method.cost(model),
        notices,
    )


def _fitted(model: Any, train: Samples) -> tuple[str, ...]:
    """Train; gives what scikit-learn had to say about it."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        warnings.filterwarnings("ignore", "Stochastic Optimizer")  # an MLP says that its epochs are over
        model.fit(train.x, train.y)
    return tuple(dict.fromkeys(str(w.message).strip().split("\n")[0] for w in caught))


@dataclass(frozen=True)
class Trial:
    """One row of the grid of one method."""

    settings: Mapping[str, float]
    images: int
    error: float  # on the validation samples
    seconds: float


def trials(
    method: Method, given: Mapping[str, float], train: Samples, valid: Samples, seed: int = 0
) -> Iterator[Trial]:
    """Every row of the method's grid, tried on the validation samples; what was ``given`` stays as it is.

    Rows that come to the same are tried once; so many components or neighbours as ``train`` allows.
    """
    rows = [method.settings(train, given, tried) for tried in method.grid]
    seen: list[dict[str, float]] = []
    for settings in rows:
        if settings not in seen:
            seen.append(settings)
            found = measure(method, settings, train, valid, seed)
            yield Trial(settings, len(train), found.error, found.fit_seconds + found.predict_seconds)


def best(tried: list[Trial]) -> Trial:
    """The smallest validation error; of equal ones the first in the grid, which is the smaller setting."""
    return min(tried, key=lambda trial: trial.error)

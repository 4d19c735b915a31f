"""A classifier of scikit-learn on the same images, chosen on the validation part, in bounded time."""

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass

from threadpoolctl import threadpool_limits

from concord.baseline.fit import Trial, measure, trials
from concord.baseline.methods import METHODS, Method
from concord.baseline.samples import Samples, flat
from concord.data.images.images import Images
from concord.data.splits import Splits, cut
from concord.errors import StoppedError
from concord.runs.rival_rows import described
from concord.runs.watching import Stop
from concord.shipping.tested import Tested

NAMES = ("svm_rbf", "logistic", "knn")
FEW = 1_000  # images for a try of settings, and to validate on
MOST = 20_000  # images to train on in the end


@dataclass(frozen=True)
class _Choice:
    method: Method
    trial: Trial


def best_baseline(splits: Splits, seconds: float, seed: int, stop: Stop) -> Tested:
    """The method and settings with the smallest validation error of ``FEW`` images, tested.

    It is trained on as many images as half of the seconds allow, if the time grows with their square.
    """
    with threadpool_limits(1):  # several wait for each other where other programs use the cores
        return _best(splits, seconds, seed, stop)


def _best(splits: Splits, seconds: float, seed: int, stop: Stop) -> Tested:
    train, valid = _some(splits.train, FEW, seed), _some(splits.valid, FEW, seed)
    choice = min(_tried(train, valid, seconds / 2, seed, stop), key=lambda found: found.trial.error)
    factor = math.sqrt(max(1.0, seconds / 2 / max(choice.trial.seconds, 1e-3)))
    images = min(len(splits.train), MOST, round(len(train) * factor))
    most, test = _some(splits.train, images, seed), _samples(splits.test)
    fitted = measure(choice.method, choice.trial.settings, most, test, seed)
    settings = described(fitted.settings)
    name = f"scikit-learn {choice.method.name}"
    about = f"{name} on {images:,} training images{f' with {settings}' if settings else ''}"
    return Tested(name, about, fitted.predicted != test.y)


def _tried(train: Samples, valid: Samples, seconds: float, seed: int, stop: Stop) -> Iterator[_Choice]:
    """Methods at their defaults, then the grid of the best of them, until the seconds are over."""
    end = time.perf_counter() + seconds
    first: list[_Choice] = []
    for name in NAMES:
        if stop():
            raise StoppedError("stopped, everything is saved: the same command continues from here")
        if first and time.perf_counter() > end:
            break
        method = METHODS[name]
        settings = method.settings(train, {})
        fitted = measure(method, settings, train, valid, seed)
        tried = Trial(settings, len(train), fitted.error, fitted.fit_seconds + fitted.predict_seconds)
        first.append(_Choice(method, tried))
    yield from first
    method = min(first, key=lambda found: found.trial.error).method
    for trial in trials(method, {}, train, valid, seed):
        if time.perf_counter() > end:
            return
        yield _Choice(method, trial)


def _some(images: Images, most: int, seed: int) -> Samples:
    """At most ``most`` images, in the proportions of the classes."""
    if most < len(images):
        images = images.subset(cut(images, most, "ship", seed)[1])
    return _samples(images)


def _samples(images: Images) -> Samples:
    return flat(images.pixels.cpu().numpy(), images.labels.cpu().numpy())

"""Baselines and networks on one split: who is trained on what, row by row, and the document about it."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import version
from platform import python_version
from typing import Any

from concord.baseline.fit import Trial, best, measure, trials
from concord.baseline.methods import CACHE, Method
from concord.baseline.need import scratch
from concord.baseline.published import MNIST_TEST
from concord.baseline.samples import Samples, flat
from concord.data import memory
from concord.data.images.images import Images, joined
from concord.data.load import load
from concord.data.splits import cut
from concord.runs.config_data import Data
from concord.runs.intervals import wilson
from concord.runs.loading import Loaded
from concord.runs.rival_rows import described, from_measured, from_run
from concord.runs.rivals import Rival, paired
from concord.runs.watching import Stop, never, reading
from concord.training.observer import SILENT, Observer

FLOAT64 = 8


class Comparison:
    """The data in memory, the rows so far, and how to get the others."""

    def __init__(
        self,
        methods: Sequence[Method],
        options: Mapping[str, float],
        read: Data,
        runs: Sequence[Loaded],
        seed: int,
        choose_on: int | None,
        observer: Observer = SILENT,
        stop: Stop = never,
    ) -> None:
        self.methods, self.options, self.read, self.runs = methods, options, read, runs
        self.seed, self.choose_on = seed, choose_on
        self.observer, self.stop = observer, stop
        self.notices: list[str] = []
        self.chosen: dict[str, list[Trial]] = {}
        self._baselines: list[Rival] = []
        self._networks: list[Rival] = []
        self._first_run: Rival | None = None
        self.pool, self.test = self._images()
        self.mnist = self.test.fingerprint == MNIST_TEST
        self.train_samples, self.test_samples = _samples(self.pool), _samples(self.test)
        self._refuse()

    def _images(self) -> tuple[Images, Images]:
        """All images that may be trained on, and the test images."""
        whole = self.read.of_pictures() | {"valid": 0.0, "limit": None}
        splits = load(**whole, watch=reading(self.observer, self.stop))
        for notice in splits.notices:
            self._note(notice)
        pool = joined(splits.train, splits.valid) if len(splits.valid) else splits.train
        limit = self.read.limit
        if limit is not None and limit < len(pool):
            pool = pool.subset(cut(pool, limit, "limit", self.seed)[1])
        elif limit is not None:
            self._note(f"a limit of {limit:,}: there are {len(pool):,} images to train on, all are used")
        need = 2 * FLOAT64 * (len(pool) + len(splits.test)) * math.prod(pool.shape)
        memory.require(need, "the images as numbers", "a smaller --limit or --set data.size=N helps")
        return pool, splits.test

    def _refuse(self) -> None:
        """What cannot be, before anything is trained: settings that the images do not allow, or too large."""
        train, test = self.train_samples, self.test_samples
        for method in self.methods:
            settings = method.settings(train, self.options)
            need = scratch(method.name, settings, train, test)
            with_ = f" with {described(settings)}" if settings else ""
            memory.require(need, f"{method.name}{with_}", "a smaller --limit, --hidden or --components helps")

    def _note(self, text: str) -> None:
        self.notices.append(text)
        self.observer.notice(text)

    @property
    def rivals(self) -> list[Rival]:
        """Baselines, then networks."""
        return [*self._baselines, *self._networks]

    def rows(self) -> Iterator[Rival]:
        """One after the other; the networks first, because they take seconds and may be refused."""
        for loaded in self.runs:
            members = from_run(loaded, self.read.source, self.test, self.mnist)
            self._first_run = self._first_run or members[-1]
            for rival in members:
                yield self._add(rival, self._networks)
        train, test = self.train_samples, self.test_samples
        for method in self.methods:
            settings = self._settings(method, train)
            self.observer.notice(_begin(method, settings, len(train)))
            measured = measure(method, settings, train, test, self.seed)
            for notice in measured.notices:
                self._note(f"{method.name}: {notice}")
            yield self._add(from_measured(measured, test, self.mnist), self._baselines)

    def _add(self, rival: Rival, to: list[Rival]) -> Rival:
        to.append(rival)
        self.observer.notice(
            f"{rival.name}: test error {100 * rival.error:.2f} %, trained in {rival.fit_seconds:.1f} s, "
            f"{rival.microseconds:.1f} us per image"
        )
        return rival

    def _settings(self, method: Method, train: Samples) -> dict[str, float]:
        """Those of the user, or what the validation split chose, or the defaults."""
        if self.choose_on is None or not method.grid:
            return method.settings(train, self.options)
        some, valid = self._validation(self.choose_on)
        tried: list[Trial] = []
        for trial in trials(method, self.options, some, valid, self.seed):
            tried.append(trial)
            self.observer.notice(
                f"{method.name}: {described(trial.settings)}: validation error {100 * trial.error:.2f} % "
                f"({len(some):,} images, {trial.seconds:.1f} s)"
            )
        self.chosen[method.name] = tried
        given = method.settings(train, self.options)
        return {**best(tried).settings, **{k: v for k, v in given.items() if k in self.options}}

    def _validation(self, most: int) -> tuple[Samples, Samples]:
        """Some of the pool to train on, and others to validate on."""
        rest, taken = cut(self.pool, max(1, round(self.read.shares[0] * len(self.pool))), "valid", self.seed)
        train = self.pool.subset(rest)
        if most < len(train):
            train = train.subset(cut(train, most, "choose", self.seed)[1])
        return _samples(train), _samples(self.pool.subset(taken))

    @property
    def reference(self) -> Rival:
        """The first run (its ensemble, if it has one), else the first row."""
        return self._first_run or self.rivals[0]

    def document(self) -> dict[str, Any]:
        """Everything as plain data, the one document of --json."""
        return {
            "data": self.read.source,
            "test_images": len(self.test),
            "test_fingerprint": self.test.fingerprint,
            "mnist": self.mnist,
            "seed": self.seed,
            "cache_mb": CACHE,
            "versions": {"python": python_version(), "scikit-learn": version("scikit-learn")},
            "rows": [_plain(rival) for rival in self.rivals],
            "against": self.reference.name,
            "pairs": [
                asdict(paired(one, self.reference)) for one in self.rivals if one is not self.reference
            ],
            "chosen": {name: [_trial(t) for t in tried] for name, tried in self.chosen.items()},
            "notices": self.notices,
        }


def _samples(images: Images) -> Samples:
    return flat(images.pixels.cpu().numpy(), images.labels.cpu().numpy())


def _begin(method: Method, settings: Mapping[str, float], images: int) -> str:
    with_ = f" with {described(settings)}" if settings else ""
    cache = f", {CACHE:,} MB for kernel values" if method.name.startswith("svm") else ""
    return f"{method.name} ({method.about}){with_}: training on {images:,} images{cache} ..."


def _trial(trial: Trial) -> dict[str, Any]:
    return {
        "settings": dict(trial.settings),
        "train_images": trial.images,
        "valid_error": trial.error,
        "seconds": trial.seconds,
    }


def _plain(rival: Rival) -> dict[str, Any]:
    low, high = wilson(int(rival.wrong.sum()), len(rival.wrong))
    return {
        "name": rival.name,
        "settings": rival.about,
        "train_images": rival.images,
        "test_error": rival.error,
        "low": low,
        "high": high,
        "seconds": rival.fit_seconds,
        "microseconds_per_image": rival.microseconds,
        "support_vectors": sum(rival.support) if rival.support else None,
        "support_vectors_per_class": list(rival.support) or None,
        "numbers": rival.numbers,
        "bytes": rival.bytes,
        "macs": rival.macs,
        "published": rival.published,
    }

"""From a name or a path to training, validation and test images.

Protocol of ``joint``: J. Noel, "A collaborative approach to deep learning", 2017, whose code
pools the official training and test parts, shuffles them and cuts a test part of the official size again.

Departures: the cut is stratified by class, and a validation part comes out of the training part (the
author chose the weight on the test set).
"""

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import torch

from concord.data import draws
from concord.data.images.decode import LARGEST, MOST
from concord.data.images.duplicates import noticed_copies, without_copies
from concord.data.images.images import Images, joined
from concord.data.images.keep import Keep, released, settled, used
from concord.data.images.parts import REPLACE, SKIP, Bad, Parts, listed, unusable
from concord.data.images.pictures import Watch
from concord.data.images.sources import read
from concord.data.images.stores import InFiles
from concord.data.splits import TEST, VALID, Splits, finished, left_out, split, test_size
from concord.errors import DataError, UsageError
from concord.files.text import counted, printable

Accept = Callable[[tuple[int, int, int], tuple[str, ...]], None]

__all__ = ["Splits", "load", "load_data"]

LARGEST_SIZE = 4096
MOST_WORKERS = 256


class UnusableError(DataError):
    """Images that cannot be used. ``elsewhere`` is the message where no setting can leave them out."""

    def __init__(self, message: str, elsewhere: str) -> None:
        super().__init__(message)
        self.elsewhere = elsewhere


def load_data(
    source: str | Path,
    *,
    size: int | None = None,
    valid: float = VALID,
    test: float = TEST,
    seed: int = 0,
    joint: bool = False,
    drop_duplicates: bool = False,
    bad_images: Literal["error", "skip"] = "error",
    limit: int | None = None,
    keep: Keep = "auto",
    largest_image: float = LARGEST,
    workers: int | None = None,
    rest: bool = False,
    watch: Watch | None = None,
    accept: Accept | None = None,
) -> Splits:
    """The splits of ``source``: 'digits', or the path of IDX files, CIFAR-10, class folders or an NPZ file.

    Parts that the source has of its own are kept; ``test`` is the fraction cut off where it has no test
    part, ``valid`` the fraction of what is then left to train on (0: an empty part), and ``limit`` the most
    images to train on of what is left then; with ``rest=True`` the result holds the other images as
    ``splits.rest``. ``keep`` says where the pixels of image files are: in memory, in a cache on disk, or
    decoded while they are used by ``workers`` processes (default: one for each core); auto is memory if they
    fit in half of what is free, else disk if there is room, else decode. The samples are the same with each.
    ``largest_image`` bounds the megapixels of one file. ``watch(done, total)`` is called while many files are
    read; the total is 0 while files are still being found. ``accept`` is called with the shape (C, H, W) and
    the classes of image files before any is decoded, and may end the reading by an error. Equal arguments and
    files give equal splits.

    Raises DataError that names the path or sample, UsageError for options out of range, ResourceError before
    memory or disk runs out.
    """
    source = os.fspath(source)
    _check_options(size, valid, test, bad_images, workers, largest_image)
    parts = read(source, size=size, watch=watch, largest=largest_image)
    # Only what is needed is decoded; but with these two every image of the source must be looked at.
    look = drop_duplicates or bad_images == "skip"
    everything = look or limit is None or rest
    cut = _Cut(valid, test, seed, limit, joint)
    _refuse_early(parts, bad_images, cut, accept)
    if everything:
        parts = settled(parts, keep, watch, look=look)
    _accepted(source, parts, bad_images)
    own_test, notices = parts.test is not None, [*parts.notices, *_skipped(parts.bad)]
    if joint and not own_test:
        notices.append("the source has no test part of its own: joint=true changes nothing")
    official, parts = cut.pooled(replace(parts, bad=(), notices=()))
    if drop_duplicates:
        parts = without_copies(parts)
    views = cut.views(parts, official)
    others = left_out(parts, views) if rest and limit is not None else None
    if everything:
        views = replace(views, notices=(*parts.notices, *noticed_copies(parts, source)))
    else:
        views = settled(used(views), keep, watch, look=look)
        _accepted(source, views, bad_images)
        views = replace(views, notices=(*views.notices, *noticed_copies(views, source)))
    splits = _finished(views, workers)
    notices += [*views.notices, *splits.notices]
    return replace(splits, notices=tuple(notices), own_test=own_test, rest=others)


load = load_data  # its short name inside the package


def _finished(views: Parts, workers: int | None) -> Splits:
    assert views.train is not None
    assert views.valid is not None
    assert views.test is not None
    train = released(views.train, statistics=True)
    decoding = isinstance(train.store, InFiles)
    if workers is None:
        workers = len(os.sched_getaffinity(0)) if decoding else 0
    return finished(train, released(views.valid), released(views.test), workers)


def _check_options(
    size: int | None, valid: float, test: float, bad_images: str, workers: int | None, largest_image: float
) -> None:
    if not 0 < largest_image <= MOST:
        raise UsageError(
            f"data.largest_image is in megapixels, above 0 and up to {MOST}, got {largest_image}"
        )
    if size is not None and not 1 <= size <= LARGEST_SIZE:
        raise UsageError(f"data.size must be 1 to {LARGEST_SIZE}, got {size}")
    if not 0 <= valid < 1:
        raise UsageError(f"data.valid is a fraction from 0 to below 1, got {valid}")
    if not 0 < test < 1:
        raise UsageError(f"data.test is a fraction above 0 and below 1, got {test}")
    if bad_images not in ("error", "skip"):
        raise UsageError(f"data.bad_images must be 'error' or 'skip', got {bad_images!r}")
    if workers is not None and not 0 <= workers <= MOST_WORKERS:
        raise UsageError(f"data.workers must be 0 to {MOST_WORKERS}, got {workers}")


@dataclass(frozen=True)
class _Cut:
    """How the parts of a source become those of a training."""

    valid: float
    test: float
    seed: int
    limit: int | None
    joint: bool

    def pooled(self, parts: Parts) -> tuple[int, Parts]:
        """With ``joint`` one part of train and test, and how large the latter was; else 0 and the parts."""
        if not self.joint or parts.train is None or parts.test is None:
            return 0, parts
        train = _shuffled(joined(parts.train, parts.test), self.seed)
        return len(parts.test), replace(parts, train=train, test=None)

    def views(self, parts: Parts, official: int) -> Parts:
        """Views of all three parts; DataError if too little is left to train on."""
        assert parts.train is not None
        total = official or test_size(len(parts.train), self.test)
        three = split(parts.train, parts, valid=self.valid, test=total, seed=self.seed, limit=self.limit)
        return Parts(parts.kind, *three)


def _refuse_early(parts: Parts, bad_images: str, cut: _Cut, accept: Accept | None) -> None:
    """Refuse what headers and labels show before any image is decoded: too few images, or of a shape that
    nobody takes; unless something is wrong with them that comes first."""
    wrong = parts.problems or (parts.bad and bad_images == "error")
    if wrong or parts.train is None or not isinstance(parts.train.store, InFiles):
        return
    official, whole = cut.pooled(parts)
    cut.views(whole, official)
    if accept is not None:
        accept(parts.train.shape, parts.train.classes)


def _accepted(source: str, parts: Parts, bad_images: str) -> Images:
    faults = list(parts.problems)
    if parts.bad and bad_images == "error":
        told, see = unusable(source, parts.bad), f"`concord data check {printable(source)}` lists all of them"
        if not faults:
            raise UnusableError(f"{told}\n{SKIP}; {see}", f"{told}\n{REPLACE}; {see}")
        faults.append(f"{told}\n{SKIP}; {see}")
    if faults or parts.train is None:
        raise DataError("\n".join(faults) or f"{printable(source)} has no images to train on")
    return parts.train


def _skipped(bad: tuple[Bad, ...]) -> list[str]:
    return [f"{counted(len(bad), 'unusable image')} skipped:\n{listed(bad)}"] if bad else []


def _shuffled(images: Images, seed: int) -> Images:
    # Stored order matters: Noel 2017 trains in it, without shuffling again.
    return images.subset(torch.from_numpy(draws.permutation(len(images), "joint", seed)))

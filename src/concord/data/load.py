"""From a name or a path to training, validation and test images.

Protocol of ``joint``: J. Noel, "A collaborative approach to deep learning", 2017, whose code
pools the official training and test parts, shuffles them and cuts a test part of the official size again.

Departures: the cut is stratified by class, and a validation part comes out of the training part (the
author chose the weight on the test set).
"""

import os
from dataclasses import replace
from pathlib import Path
from typing import Literal

import torch

from concord.data import draws
from concord.data.images.duplicates import without_copies
from concord.data.images.images import Images, joined
from concord.data.images.keep import Keep, released, settled, used
from concord.data.images.parts import Bad, Parts
from concord.data.images.pictures import Watch
from concord.data.images.sources import read
from concord.data.images.stores import InFiles
from concord.data.splits import Splits, finished, left_out, split
from concord.errors import DataError, UsageError
from concord.files.text import printable

__all__ = ["Splits", "listed", "load", "load_data"]

SHOWN = 10
LARGEST_SIZE = 4096
MOST_WORKERS = 256


def load_data(
    source: str | Path,
    *,
    size: int | None = None,
    valid: float = 0.1,
    test: float = 0.2,
    seed: int = 0,
    joint: bool = False,
    drop_duplicates: bool = False,
    bad_images: Literal["error", "skip"] = "error",
    limit: int | None = None,
    keep: Keep = "auto",
    workers: int | None = None,
    rest: bool = False,
    watch: Watch | None = None,
) -> Splits:
    """The splits of ``source``: 'digits', or the path of IDX files, CIFAR-10, class folders or an NPZ file.

    Parts that the source has of its own are kept; ``test`` is the fraction cut off where it has no test
    part, ``valid`` the fraction of what is then left to train on (0: an empty part), and ``limit`` the most
    images to train on of what is left then; with ``rest=True`` the result holds the other images as
    ``splits.rest``. ``keep`` says where the pixels of image files are: in memory, in a cache on disk, or
    decoded while they are used by ``workers`` processes (default: one for each core); auto is memory if they
    fit in half of what is free, else disk if there is room, else decode. The samples are the same with each.
    ``watch(done, total)`` is called while many files are read; the total is 0 while files are still being
    found. Equal arguments and files give equal splits.

    Raises DataError that names the path or sample, UsageError for options out of range, ResourceError before
    memory or disk runs out.
    """
    source = os.fspath(source)
    _check_options(size, valid, test, bad_images, workers)
    parts = read(source, size=size, watch=watch)
    # Only what is needed is decoded; but with these two every image of the source must be looked at.
    look = drop_duplicates or bad_images == "skip"
    everything = look or limit is None or rest
    if everything:
        parts = settled(parts, keep, watch, look=look)
    train = _accepted(source, parts, bad_images)
    notices = [*parts.notices, *_skipped(parts.bad)]
    official = len(parts.test) if parts.test is not None and joint else 0
    if parts.test is not None and joint:
        train = _shuffled(joined(train, parts.test), seed)
        parts = replace(parts, test=None)
    elif joint:
        notices.append("the source has no test part of its own: joint=true changes nothing")
    parts = replace(parts, train=train, bad=(), notices=())
    if drop_duplicates:
        parts = without_copies(parts)
        train = parts.train or train
    total = official or max(1, round(test * len(train)))
    three = split(train, parts, valid=valid, test=total, seed=seed, limit=limit)
    views = Parts(parts.kind, *three, notices=parts.notices)
    others = left_out(train, three) if rest and limit is not None else None
    if not everything:
        views = settled(used(views), keep, watch, look=look)
        _accepted(source, views, bad_images)
    splits = _finished(views, workers)
    notices += [*views.notices, *splits.notices]
    own_test = bool(official) or parts.test is not None
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


def _check_options(size: int | None, valid: float, test: float, bad_images: str, workers: int | None) -> None:
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


def _accepted(source: str, parts: Parts, bad_images: str) -> Images:
    faults = list(parts.problems)
    if parts.bad and bad_images == "error":
        faults.append(
            f"{len(parts.bad):,} of the images in {printable(source)} cannot be used:\n{listed(parts.bad)}\n"
            "leave them out with --set data.bad_images=skip, "
            f"or see all of them with: concord data check {printable(source)}"
        )
    if faults or parts.train is None:
        raise DataError("\n".join(faults) or f"{printable(source)} has no images to train on")
    return parts.train


def listed(bad: tuple[Bad, ...]) -> str:
    """Up to ten of the files, one on each line, and how many more there are."""
    lines = [f"  {printable(b.name)}: {b.reason}" for b in bad[:SHOWN]]
    return "\n".join(lines + [f"  and {len(bad) - SHOWN:,} more"] * (len(bad) > SHOWN))


def _skipped(bad: tuple[Bad, ...]) -> list[str]:
    return [f"{len(bad):,} unusable images skipped:\n{listed(bad)}"] if bad else []


def _shuffled(images: Images, seed: int) -> Images:
    # Stored order matters: Noel 2017 trains in it, without shuffling again.
    return images.subset(torch.from_numpy(draws.permutation(len(images), "joint", seed)))

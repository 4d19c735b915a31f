"""Training, validation and test samples of a data set: disjoint, seeded, stratified by class."""

import hashlib
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from concord.data import draws
from concord.data.images.images import Images
from concord.data.images.parts import CALLED, Parts
from concord.data.normalise import Statistics
from concord.errors import DataError
from concord.files.text import counted, printable

VALID, TEST = 0.1, 0.2  # fractions that are cut off where nothing else is said
MOST_IMBALANCE = 20


@dataclass(frozen=True, eq=False, repr=False)
class Splits:
    """``valid`` may be empty. ``notices`` are what the user should be told before training."""

    train: Images
    valid: Images
    test: Images
    fingerprint: str  # SHA-256 over the three parts in this order
    notices: tuple[str, ...]
    own_test: bool = False  # whether the source has a test part of its own
    workers: int = 0  # processes that make the batches; 0: the process that trains
    rest: Images | None = None  # training images that a limit left out, where they are asked for

    def __repr__(self) -> str:
        classes = ", ".join(self.train.classes[:10]) + (", ..." if len(self.train.classes) > 10 else "")
        size = "x".join(map(str, self.train.shape))
        parts = f"train {len(self.train):,}, valid {len(self.valid):,}, test {len(self.test):,}"
        return f"Splits({parts} images of {size}; classes {classes})"


def quotas(counts: list[int], total: int) -> list[int]:
    """How many of each class to take so that ``total`` are taken in the proportions of ``counts``.

    Largest remainders, in whole numbers; equal remainders go to the earlier class. A class never gives
    its last sample, so fewer than ``total`` may come out of very small sets.
    """
    n = sum(counts)
    shares = [divmod(count * total, n) for count in counts]
    left = total - sum(whole for whole, _ in shares)
    by_remainder = sorted(range(len(counts)), key=lambda k: (-shares[k][1], k))
    rounded_up = set(by_remainder[:left])
    return [min(whole + (k in rounded_up), max(0, counts[k] - 1)) for k, (whole, _) in enumerate(shares)]


def cut(images: Images, total: int, *key: str | int) -> tuple[Tensor, Tensor]:
    """Numbers of the samples that stay and of ``total`` that are taken, each ascending. Shape: (n,), (m,)"""
    return cut_labels(images.labels.cpu(), total, *key)


def cut_labels(labels: Tensor, total: int, *key: str | int) -> tuple[Tensor, Tensor]:
    """The same of labels alone. Shape: (N,) int64 -> (n,), (m,)"""
    order = torch.from_numpy(draws.permutation(len(labels), *key))
    taken = torch.zeros(len(labels), dtype=torch.bool)
    for k, quota in enumerate(quotas(torch.bincount(labels).tolist(), total)):
        taken[order[labels[order] == k][:quota]] = True
    return torch.nonzero(~taken).flatten(), torch.nonzero(taken).flatten()


def test_size(images: int, fraction: float) -> int:
    """How many images are cut off for the test."""
    return max(1, round(fraction * images))


def split(
    train: Images, parts: Parts, *, valid: float, test: int, seed: int, limit: int | None = None
) -> tuple[Images, Images, Images]:
    """Keep the valid and test part of ``parts`` where it has them, else cut them off ``train``.

    ``test`` is a number of images, ``valid`` the fraction of what is left of ``train`` after that. Of what is
    left then, ``limit`` images in the proportions of the classes are trained on. All are views of the pixels
    that there are. Raises DataError if too little is left to train on.
    """
    test_images, valid_images = parts.test, parts.valid
    if test_images is None:
        train, test_images = _cut_off(train, test, "test", seed)
    if valid_images is None:
        total = max(1, round(valid * len(train))) if valid else 0
        train, valid_images = _cut_off(train, total, "valid", seed)
    if limit is not None and limit < len(train):
        train = train.subset(cut(train, limit, "limit", seed)[1]).compact()
    counts = torch.bincount(train.labels.cpu(), minlength=len(train.classes)).tolist()
    if sum(count > 0 for count in counts) < 2:
        raise DataError("images of at least 2 classes are needed to train on")
    return train, valid_images, test_images


def left_out(parts: Parts, views: Parts) -> Images | None:
    """The training images that are in none of the views, by their names; None if every one is."""
    assert parts.train is not None
    whole, known = parts.train, {name for _, view in views.present() for name in view.names}
    index = [i for i, name in enumerate(whole.names) if name not in known]
    return whole.subset(torch.tensor(index)) if index else None


def _cut_off(images: Images, total: int, name: str, seed: int) -> tuple[Images, Images]:
    rest, taken = cut(images, total, name, seed)
    if total and not len(taken):
        raise DataError(
            f"{counted(len(images), 'image')} are too few to cut {total:,} off for the {CALLED[name]} part:"
            " every class keeps at least one image, so that some class needs 2 or more"
        )
    return images.subset(rest), images.subset(taken)


def finished(train: Images, valid: Images, test: Images, workers: int = 0) -> Splits:
    """The three parts with their fingerprint, and a notice for what is missing or unequal in them.

    All are normalised by the statistics of the training part.
    """
    statistics = Statistics(train)
    train, valid, test = (replace(part, statistics=statistics) for part in (train, valid, test))
    whole = hashlib.sha256("".join(part.fingerprint for part in (train, valid, test)).encode())
    return Splits(train, valid, test, whole.hexdigest(), shortcomings(train, valid, test), workers=workers)


def shortcomings(train: Images, valid: Images, test: Images) -> tuple[str, ...]:
    """What is missing or unequal in the three parts, for whoever trains on them."""
    named = (("train", train), ("valid", valid), ("test", test))
    missing = [text for name, part in named if len(part) for text in missing_classes(part, name)]
    return (*missing, *imbalance_notice(train))


def missing_classes(images: Images, name: str) -> list[str]:
    """One notice if classes have no image in that part, otherwise none."""
    present = set(images.labels.unique().tolist())
    absent = [f"'{printable(c)}'" for k, c in enumerate(images.classes) if k not in present]
    if not absent:
        return []
    more = f" and {len(absent) - 5} more" if len(absent) > 5 else ""
    return [f"the {CALLED[name]} part has no image of class {', '.join(absent[:5])}{more}"]


def imbalance(images: Images) -> float:
    """Size of the largest class over that of the smallest one that is not empty."""
    counts = [n for n in torch.bincount(images.labels.cpu()).tolist() if n]
    return max(counts) / min(counts)


def imbalance_notice(images: Images) -> list[str]:
    """One notice if the imbalance is over 20:1, otherwise none."""
    ratio = imbalance(images)
    if ratio <= MOST_IMBALANCE:
        return []
    return [
        f"the largest class has {ratio:.0f} times as many training images as the smallest; "
        "read balanced accuracy and recall per class (concord eval), not the error alone"
    ]

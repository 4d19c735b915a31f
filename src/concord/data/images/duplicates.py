"""Exact duplicates: images whose pixels are equal, byte for byte, at the size they are loaded at."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import torch

from concord.data.images.images import Images
from concord.data.images.parts import CALLED, Parts
from concord.data.images.stores import InMemory
from concord.files.text import counted, printable


def keys(images: Images) -> list[bytes]:
    """A 128-bit BLAKE2b digest of each image's pixels; equal digests are taken for equal pixels."""
    rows = (row for piece in images.pieces() for row in piece.cpu().contiguous().numpy())
    return [hashlib.blake2b(row.data, digest_size=16).digest() for row in rows]


@dataclass(frozen=True)
class Copy:
    """A sample, the first sample with the same pixels, and the classes of both."""

    name: str
    first: str
    label: str
    first_label: str

    @property
    def conflicting(self) -> bool:
        return self.label != self.first_label

    def __str__(self) -> str:
        labels = f" ({self.label!r} and {self.first_label!r})" if self.conflicting else ""
        return printable(f"{self.name} = {self.first}{labels}")


def copies(images: Images, among: Images | None = None) -> dict[int, Copy]:
    """Sample number -> Copy, for each image that an earlier one equals, or one of ``among`` if given."""
    if among is None:
        return _later(images, keys(images))
    return _shared(images, keys(images), among, keys(among))


@dataclass(frozen=True)
class Repeated:
    """The copies within each part, and those of images of a later part in an earlier one."""

    within: Mapping[str, Mapping[int, Copy]]
    across: Mapping[tuple[str, str], Mapping[int, Copy]]  # (later, earlier) -> number in the later -> Copy

    @classmethod
    def of(cls, parts: Parts) -> "Repeated":
        digests = {name: keys(images) for name, images in parts.present()}
        within = {name: _later(images, digests[name]) for name, images in parts.present()}
        across = {
            (later, name): _shared(other, digests[later], images, digests[name])
            for (name, images), (later, other) in combinations(parts.present(), 2)
            if images.shape == other.shape
        }
        return cls({k: v for k, v in within.items() if v}, {k: v for k, v in across.items() if v})

    def warnings(self) -> tuple[str, ...]:
        """What spoils labels or scores: copies under two labels, and in two parts."""
        found = [_conflict(name, list(gone.values())) for name, gone in self.within.items()]
        found += [_leak(later, name, list(gone.values())) for (later, name), gone in self.across.items()]
        return tuple(text for text in found if text)


def noticed_copies(parts: Parts, source: str) -> tuple[str, ...]:
    """The warnings, or that nobody looked: pixels that are many and not in memory would all be read."""
    stores = [images.store for _, images in parts.present()]
    if all(isinstance(store, InMemory) or store.marks is None for store in stores):
        return Repeated.of(parts).warnings()
    return (
        "copies among the images were not looked for, because the pixels are not in memory;"
        f" `concord data check {printable(source)}` looks for them",
    )


def _conflict(part: str, gone: Sequence[Copy]) -> str:
    conflicting = [copy for copy in gone if copy.conflicting]
    if not conflicting:
        return ""
    are = "is a copy" if len(conflicting) == 1 else "are copies"
    return (
        f"{counted(len(conflicting), 'image')} of the {CALLED[part]} part {are} of another image under "
        f"another label, such as {conflicting[0]}; --set data.drop_duplicates=true keeps the first of equal "
        "images, with its label"
    )


def _leak(later: str, part: str, gone: Sequence[Copy]) -> str:
    are, here = "is" if len(gone) == 1 else "are", CALLED[part]
    return (
        f"{counted(len(gone), 'image')} of the {CALLED[later]} part {are} in the {here} part too, such as "
        f"{gone[0]}; --set data.drop_duplicates=true leaves out the copies in the {here} part"
    )


def _shared(
    images: Images, digests: Sequence[bytes], among: Images, others: Sequence[bytes]
) -> dict[int, Copy]:
    first: dict[bytes, int] = {}
    for j, key in enumerate(others):
        first.setdefault(key, j)
    found = ((i, first.get(key)) for i, key in enumerate(digests))
    return {i: _copy(images, i, among, j) for i, j in found if j is not None}


def _later(images: Images, digests: Sequence[bytes]) -> dict[int, Copy]:
    first: dict[bytes, int] = {}
    pairs = ((i, first.setdefault(key, i)) for i, key in enumerate(digests))
    return {i: _copy(images, i, images, j) for i, j in pairs if i != j}


def _copy(images: Images, i: int, among: Images, j: int) -> Copy:
    label, first_label = images.classes[int(images.labels[i])], among.classes[int(among.labels[j])]
    return Copy(images.names[i], among.names[j], label, first_label)


def without_copies(parts: Parts) -> Parts:
    """Each image once: the first of equal ones, and test before valid before train.

    The test part of the source stays as it is. A notice says how many went and whether labels differed.
    """
    notices: list[str] = []
    train, valid = parts.train, parts.valid
    if train is not None:
        train = _without(train, copies(train), "the training part", notices)
    for name, other in (("valid", valid), ("test", parts.test)):
        if train is not None and other is not None:
            train = _without(train, copies(train, other), f"train that also stand in {name}", notices)
    if valid is not None and parts.test is not None:
        valid = _without(valid, copies(valid, parts.test), "valid that also stand in test", notices)
    return replace(parts, train=train, valid=valid, notices=(*parts.notices, *notices))


def _without(images: Images, gone: dict[int, Copy], where: str, notices: list[str]) -> Images:
    if not gone:
        return images
    notices.append(f"{counted(len(gone), 'exact duplicate')} removed from {where}{_conflicts(gone)}")
    return images.subset(torch.tensor([i for i in range(len(images)) if i not in gone], dtype=torch.int64))


def _conflicts(gone: dict[int, Copy]) -> str:
    conflicting = [copy for copy in gone.values() if copy.conflicting]
    if not conflicting:
        return ""
    return (
        f"; {len(conflicting):,} carried another label than the copy that was kept, such as {conflicting[0]}"
    )

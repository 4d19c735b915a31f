"""Labelled images, and the door that every reader hands them through."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from concord.data import draws, memory
from concord.data.dataset import Draw, Spec
from concord.data.images.augment import Augment
from concord.data.images.stores import InMemory, Store
from concord.data.names import Chained, Chosen
from concord.data.normalise import Normalise, Statistics
from concord.errors import DataError
from concord.files.text import printable

TYPICAL = 2_000  # images whose statistics stand for those of a set that is too large to decode beforehand


@dataclass(frozen=True)
class Known:
    """What was found out about images while their pixels were at hand."""

    fingerprint: str
    normalise: Normalise | None


@dataclass(frozen=True, eq=False, repr=False)
class Images:
    """N labelled images of one size: some rows of a store, which other parts may share.

    Made by ``checked``, which also looks at every label. It is a ``Dataset``: inputs are (B, C, H, W) uint8,
    targets class numbers (B,) int64.
    """

    store: Store  # a tensor (N, C, H, W) uint8 is taken too
    labels: Tensor  # (N,) int64, class numbers
    classes: tuple[str, ...]
    names: Sequence[str]  # one per sample: cats/001.jpg, train-images-idx3-ubyte.gz[17]
    rows: Tensor | None = None  # (N,) int64, where each sample lies in the store; None: sample i in row i
    augment: Augment | None = None
    known: Known | None = None
    statistics: Statistics | None = None  # of the images that are trained on; None: members see pixels

    def __post_init__(self) -> None:
        if isinstance(self.store, Tensor):
            object.__setattr__(self, "store", InMemory(self.store))
        if self.labels.ndim != 1 or self.labels.dtype != torch.int64:
            raise DataError(f"labels must be (N,) int64, got {tuple(self.labels.shape)} {self.labels.dtype}")
        count = len(self.store) if self.rows is None else len(self.rows)
        if not count == len(self.labels) == len(self.names):
            raise DataError(
                f"{count} images, {len(self.labels)} labels and {len(self.names)} names: "
                "each image needs one label and one name"
            )

    def __len__(self) -> int:
        return len(self.labels)

    def __repr__(self) -> str:
        size = "x".join(map(str, self.shape))
        return f"Images({len(self):,} of {size}, {len(self.classes)} classes)"

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W)"""
        return self.store.shape

    @property
    def spec(self) -> Spec:
        normalise = None if self.statistics is None else self.statistics.normalise
        return Spec("images", self.shape, torch.uint8, self.classes, normalise)

    @property
    def fingerprint(self) -> str:
        return fingerprint(self)

    @property
    def pixels(self) -> Tensor:
        """All pixels in memory; ResourceError if they do not fit. Shape: (N, C, H, W) uint8"""
        if isinstance(self.store, InMemory):
            return self.store.pixels if self.rows is None else self.store.take(self.rows)
        memory.require(self.bytes, f"{len(self):,} images at once", "use fewer images or a smaller data.size")
        out = torch.empty((len(self), *self.shape), dtype=torch.uint8)
        done = 0
        for piece in self.pieces():
            out[done : done + len(piece)] = piece
            done += len(piece)
        return out

    @property
    def bytes(self) -> int:
        return len(self) * int(np.prod(self.shape))

    def pieces(self) -> Iterator[Tensor]:
        """All pixels in order, some images at a time. Shape of each: (n, C, H, W) uint8"""
        return self.store.pieces(self.places())

    def places(self) -> Tensor:
        """Where each sample lies in the store. Shape: (N,) int64"""
        return torch.arange(len(self)) if self.rows is None else self.rows

    def batch(self, index: Tensor, draw: Draw | None) -> tuple[Tensor, Tensor]:
        """Shape: (B,) -> (B, C, H, W) uint8, (B,) int64"""
        pixels = self.store.take(index if self.rows is None else self.rows[index])
        if self.augment is not None and draw is not None:
            pixels = self.augment(pixels, index, seed=draw.seed, epoch=draw.epoch)
        return pixels, self.labels[index.to(self.labels.device, non_blocking=True)]

    def name(self, i: int) -> str:
        return self.names[i]

    def subset(self, index: Tensor) -> "Images":
        """The samples ``index`` (n,), in that order; n = 0 is allowed. Pixels are not copied."""
        index = index.cpu()
        return Images(
            self.store,
            self.labels[index.to(self.labels.device)],
            self.classes,
            Chosen(self.names, index.numpy()),
            self.places()[index],
            self.augment,
            statistics=self.statistics,
        )

    def typical(self) -> "Images":
        """Images whose statistics are used: all, or of a set with marks a fixed sample of ``TYPICAL``."""
        if self.store.marks is None or len(self) <= TYPICAL:
            return self
        chosen = np.sort(draws.permutation(len(self), "statistics")[:TYPICAL])
        return self.subset(torch.from_numpy(chosen))

    def compact(self) -> "Images":
        """The same images with pixels of their own, where they are less than half of those in memory."""
        if not isinstance(self.store, InMemory) or 2 * len(self) > len(self.store):
            return self
        marks = None if self.store.marks is None else self.store.marks[self.places().numpy()]
        return replace(
            self, store=replace(self.store, pixels=self.pixels, marks=marks, files=None), rows=None
        )

    def to(self, device: torch.device | str) -> "Images":
        """The same images with labels on ``device``, and pixels too if they are in memory."""
        store = self.store.to(device) if isinstance(self.store, InMemory) else self.store
        return replace(self, store=store, labels=self.labels.to(device))


def checked(pixels: Tensor, labels: NDArray[Any], classes: tuple[str, ...], names: Sequence[str]) -> Images:
    """Images whose labels are all whole numbers 0..K-1.

    Shape: pixels (N, C, H, W) uint8 with N, C, H, W >= 1, labels (N,) of any integer type.
    Raises DataError that names the first sample with a wrong label, or says what does not fit.
    """
    if len(pixels) != len(labels):
        raise DataError(f"{len(pixels)} images but {len(labels)} labels: each image needs one label")
    if pixels.numel() == 0:
        raise DataError(f"there are no images (shape {tuple(pixels.shape)})")
    return labelled(InMemory(pixels), labels, classes, names)


def labelled(store: Store, labels: NDArray[Any], classes: tuple[str, ...], names: Sequence[str]) -> Images:
    """All images of a store, with labels that are compared with the classes as ``checked`` does."""
    if len(classes) < 2:
        only = f"only '{printable(classes[0])}'" if classes else "none"
        raise DataError(f"at least 2 classes are needed, there is {only}")
    if len(set(classes)) != len(classes):
        raise DataError("two classes have the same name")
    check_labels(labels, len(classes), names)
    return Images(store, torch.from_numpy(labels.astype(np.int64)), classes, names)


def check_labels(labels: NDArray[Any], count: int, names: Sequence[str]) -> None:
    """DataError that names the first sample whose label is not one of the whole numbers 0..count-1."""
    if labels.ndim != 1:
        raise DataError(f"labels must be one whole number per image, got shape {labels.shape}")
    whole = labels.dtype.kind in "iu"
    # A wrong type makes every label wrong; among floats a NaN or a fraction is the better example.
    wrong = (labels < 0) | (labels >= count) if whole else _not_whole(labels)
    if wrong.any():
        i, n = int(np.argmax(wrong)), int(wrong.sum())
        more = f" ({n:,} such labels)" if n > 1 else ""
        cure = "" if whole else f"; labels must be stored as integers, not {labels.dtype}"
        given = f"{printable(names[i])} has the label {printable(labels[i])}"
        raise DataError(f"{given}, expected 0 to {count - 1}{more}{cure}")


def _not_whole(labels: NDArray[Any]) -> NDArray[np.bool_]:
    if labels.dtype.kind != "f":
        return np.ones(len(labels), bool)
    fractions = ~np.isfinite(labels) | (labels != np.floor(labels))
    return fractions if fractions.any() else np.ones(len(labels), bool)


def joined(first: Images, second: Images) -> Images:
    """The samples of ``first``, then those of ``second``; both must have one shape and the same classes."""
    if first.shape != second.shape or first.classes != second.classes:
        raise DataError(
            f"images of {first.shape} and {second.shape}, or of different classes, cannot be put together"
        )
    labels = torch.cat([first.labels, second.labels])
    names = Chained(first.names, second.names)
    if first.store is second.store:
        rows = torch.cat([first.places(), second.places()])
        return Images(first.store, labels, first.classes, names, rows)
    return Images(InMemory(torch.cat([first.pixels, second.pixels])), labels, first.classes, names)


def fingerprint(images: Images) -> str:
    """SHA-256 (hexadecimal) over shape, classes, labels and pixels; names and device do not count.

    For images of a store with marks these stand for the pixels.
    """
    if images.known is not None:
        return images.known.fingerprint
    marks = images.store.marks
    head = json.dumps([[len(images), *images.shape], list(images.classes)])
    digest = hashlib.sha256(head.encode())
    digest.update(images.labels.cpu().contiguous().numpy().data)
    if marks is not None:
        digest.update(b"marks")
        digest.update(np.ascontiguousarray(marks[images.places().numpy()]).data)
        return digest.hexdigest()
    for piece in images.pieces():
        digest.update(piece.cpu().contiguous().numpy().data)
    return digest.hexdigest()

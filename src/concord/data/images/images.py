"""Labelled images in memory, and the door that every reader hands them through."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from concord.data.names import Chained, Chosen
from concord.data.text import printable
from concord.errors import DataError


@dataclass(frozen=True, eq=False)
class Images:
    """N labelled images of one size. Made by ``checked``, which also looks at every label."""

    pixels: Tensor  # (N, C, H, W) uint8
    labels: Tensor  # (N,) int64, class numbers
    classes: tuple[str, ...]
    names: Sequence[str]  # one per sample: cats/001.jpg, train-images-idx3-ubyte.gz[17]

    def __post_init__(self) -> None:
        if self.pixels.ndim != 4 or self.pixels.dtype != torch.uint8:
            given = f"{tuple(self.pixels.shape)} {self.pixels.dtype}"
            raise DataError(f"images must be (N, C, H, W) uint8 (values 0..255), got {given}")
        if self.labels.ndim != 1 or self.labels.dtype != torch.int64:
            raise DataError(f"labels must be (N,) int64, got {tuple(self.labels.shape)} {self.labels.dtype}")
        if not len(self.pixels) == len(self.labels) == len(self.names):
            raise DataError(
                f"{len(self.pixels)} images, {len(self.labels)} labels and {len(self.names)} names: "
                "each image needs one label and one name"
            )

    def __len__(self) -> int:
        return len(self.labels)

    def subset(self, index: Tensor) -> "Images":
        """The samples ``index`` (n,), in that order; n = 0 is allowed."""
        here = index.to(self.pixels.device)
        names = Chosen(self.names, index.cpu().numpy())
        return Images(self.pixels[here], self.labels[here], self.classes, names)

    def to(self, device: torch.device | str) -> "Images":
        """The same images with pixels and labels on ``device``."""
        return replace(self, pixels=self.pixels.to(device), labels=self.labels.to(device))


def checked(pixels: Tensor, labels: NDArray[Any], classes: tuple[str, ...], names: Sequence[str]) -> Images:
    """Images whose labels are all whole numbers 0..K-1.

    Shape: pixels (N, C, H, W) uint8 with N, C, H, W >= 1, labels (N,) of any integer type.
    Raises DataError that names the first sample with a wrong label, or says what does not fit.
    """
    if len(pixels) != len(labels):
        raise DataError(f"{len(pixels)} images but {len(labels)} labels: each image needs one label")
    if pixels.numel() == 0:
        raise DataError(f"there are no images (shape {tuple(pixels.shape)})")
    if len(classes) < 2:
        only = f"only '{printable(classes[0])}'" if classes else "none"
        raise DataError(f"at least 2 classes are needed, there is {only}")
    if len(set(classes)) != len(classes):
        raise DataError("two classes have the same name")
    _check_labels(labels, len(classes), names)
    return Images(pixels, torch.from_numpy(labels.astype(np.int64)), classes, names)


def _check_labels(labels: NDArray[Any], count: int, names: Sequence[str]) -> None:
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
    if first.pixels.shape[1:] != second.pixels.shape[1:] or first.classes != second.classes:
        raise DataError(
            f"images of {tuple(first.pixels.shape[1:])} and {tuple(second.pixels.shape[1:])}, or of "
            "different classes, cannot be put together"
        )
    return Images(
        torch.cat([first.pixels, second.pixels]),
        torch.cat([first.labels, second.labels]),
        first.classes,
        Chained(first.names, second.names),
    )


def fingerprint(images: Images) -> str:
    """SHA-256 (hexadecimal) over shape, classes, labels and pixels; names and device do not count."""
    head = json.dumps([list(images.pixels.shape), list(images.classes)])
    digest = hashlib.sha256(head.encode())
    for tensor in (images.labels, images.pixels):
        digest.update(tensor.cpu().contiguous().numpy().data)
    return digest.hexdigest()

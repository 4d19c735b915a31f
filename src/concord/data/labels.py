"""Labels that a user gives: whole numbers 0..K-1, one for each sample, or a message that says what to do."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from concord.errors import UsageError


def class_labels(
    y: Tensor, classes: int | Sequence[str] | None, name: Callable[[int], str], *, some: bool = False
) -> tuple[str, ...]:
    """The names of the classes, after every label was found to be one of them.

    Left out, there are as many classes as the largest label says. ``some``: these are only some of the
    labels, so that there may be more wrong ones. Raises UsageError.
    """
    if y.ndim == 2 and y.shape[1] == 1:
        raise UsageError(f"labels must be (N,), got {tuple(y.shape)}: give y[:, 0]")
    if y.ndim != 1:
        one_hot = y.ndim == 2 and bool(((y == 0) | (y == 1)).all()) and bool((y.sum(1) == 1).all())
        cure = "these are one-hot: give y.argmax(1)" if one_hot else "one class number for each sample"
        raise UsageError(f"labels must be (N,), got {tuple(y.shape)}: {cure}")
    if y.is_floating_point() or y.dtype == torch.bool:
        raise UsageError(
            f"labels must be whole numbers (integers), got {y.dtype}: give y.astype(int) or y.long()"
        )
    if not len(y):
        raise UsageError("there are no samples")
    names = _names(classes, int(y.max()) + 1)
    wrong = (y < 0) | (y >= len(names))
    if wrong.any():
        i, count = int(wrong.to(torch.uint8).argmax()), int(wrong.sum())
        more = f" ({'at least ' * some}{count:,} such labels)" if count > 1 else ""
        raise UsageError(f"{name(i)} has the label {int(y[i])}, expected 0 to {len(names) - 1}{more}")
    return names


def _names(classes: int | Sequence[str] | None, largest: int) -> tuple[str, ...]:
    if isinstance(classes, str):
        raise UsageError(f"classes is a list of names or their number, got {classes!r}")
    if classes is None or isinstance(classes, int):
        names: tuple[str, ...] = tuple(map(str, range(classes if classes is not None else max(largest, 2))))
    else:
        names = tuple(classes)
    if len(names) < 2 or len(set(names)) != len(names):
        raise UsageError(f"at least 2 classes of different names are needed, got {list(names)}")
    return names

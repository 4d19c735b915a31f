"""Trees of arrays and tensors: tuples, lists and dictionaries, at any depth."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from concord.data.dataset import Kinds, Shapes, Tree
from concord.errors import UsageError


def leaves(tree: Tree, path: str = "") -> Iterator[tuple[str, Tensor]]:
    """Every tensor, with what a message calls it: '' for a single one, '[0]', "['text'][1]"."""
    if isinstance(tree, Tensor):
        yield path, tree
    elif isinstance(tree, Mapping):
        for key, inside in tree.items():
            yield from leaves(inside, f"{path}[{key!r}]")
    else:
        for i, inside in enumerate(tree):
            yield from leaves(inside, f"{path}[{i}]")


def mapped(tree: Any, change: Callable[[Any], Any]) -> Any:
    """The same tree with every leaf changed."""
    if isinstance(tree, Mapping):
        return {key: mapped(inside, change) for key, inside in tree.items()}
    if isinstance(tree, tuple | list):
        return type(tree)(mapped(inside, change) for inside in tree)
    return change(tree)


def as_tensor(given: Any, what: str) -> Tensor:
    """A tensor of numbers of an array, a tensor or what numpy makes one of; float64 becomes float32."""
    if not isinstance(given, Tensor):
        array = np.asarray(given)
        if array.dtype.kind not in "fiub":
            raise UsageError(f"{what} must be numbers, got {array.dtype}: turn them into floats or integers")
        if array.dtype.kind == "u" and array.dtype != np.uint8:  # torch computes with no other unsigned type
            array = array.astype(np.int64)
        array = np.asarray(array, order="C")
        given = torch.from_numpy(array if array.flags.writeable else array.copy())
    if given.is_complex():
        raise UsageError(f"{what} must be real numbers, got {given.dtype}")
    given = given.detach()
    return given.to(torch.float32) if given.dtype == torch.float64 else given


def refuse_not_finite(tree: Tree, what: str, name: Callable[[int], str], *, some: bool = False) -> None:
    """UsageError that names the first sample with NaN or an infinity. Leaves have the samples first.

    ``some``: these are only some of the samples, so that there may be more such ones.
    """
    for path, tensor in leaves(tree):
        # one sum tells in most cases, without a tensor of the same size
        if not tensor.is_floating_point() or bool(torch.isfinite(tensor.sum(dtype=torch.float64))):
            continue
        bad = ~torch.isfinite(tensor.reshape(len(tensor), -1)).all(1)
        if bad.any():
            i, count = int(bad.to(torch.uint8).argmax()), int(bad.sum())
            more = f" ({'at least ' * some}{count:,} such samples)" if count > 1 else ""
            raise UsageError(
                f"{what}{path}: {name(i)} holds NaN or an infinity{more}; replace or remove the sample"
            )


def shapes(tree: Tree) -> Shapes:
    """The shapes of single samples of a batch."""
    found: Shapes = mapped(tree, lambda x: tuple(x.shape[1:]))
    return found


def kinds(tree: Tree) -> Kinds:
    """The types of the numbers."""
    found: Kinds = mapped(tree, lambda x: x.dtype)
    return found

"""Inputs that a Python user gives without targets, as batches for members."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves
from torch.utils.data import DataLoader, Dataset

from concord.data import trees
from concord.data.batches import ranges
from concord.data.loaded import Loaded
from concord.data.loader import Loader
from concord.data.wrapped import Wrapped
from concord.errors import UsageError
from concord.runs.samples import HELD, in_order, items_of
from concord.tasks.task import Tree

BATCH = 500  # samples of one pass of prediction


def input_batches(x: Any) -> Iterator[Tree]:
    """Inputs in order: arrays, tensors or lists of numbers, or those of data whose targets are ignored.

    UsageError for what they cannot be.
    """
    if isinstance(x, DataLoader):
        return (_loaded(item) for item in items_of(x, HELD, "the loader"))
    if isinstance(x, Loaded):
        raise UsageError("these are all parts of a data set: give its .train, .valid or .test")
    if isinstance(x, Dataset):
        x = Wrapped(x, targets="any")
    if of_concord(x):
        return (inputs for inputs, _ in in_order(x, "data", Loader({"data": x})))
    return _pieces(_checked(x))


def of_concord(data: Any) -> bool:
    """Whether this is a Dataset of concord."""
    return hasattr(data, "batch") and hasattr(data, "spec")


def _loaded(item: Any) -> Tree:
    """The inputs of what a loader gives: of a pair, else all of it."""
    x = item[0] if isinstance(item, tuple | list) and len(item) == 2 else item
    x = tuple(x) if isinstance(x, list) else x
    return trees.mapped(x, lambda leaf: trees.as_tensor(leaf, "inputs"))


def _checked(x: Any) -> Tree:
    if isinstance(x, str | bytes) or x is None:
        raise UsageError(
            f"inputs are tensors or arrays, got {x!r}; image files are read with concord.load_data"
        )
    tensors = trees.mapped(arrays(x), lambda leaf: trees.as_tensor(leaf, "inputs"))
    lengths = {len(leaf) if leaf.ndim else None for _, leaf in trees.leaves(tensors)}
    if None in lengths or len(lengths) != 1:
        raise UsageError("inputs need samples along the first axis, equally many in every tensor")
    if lengths == {0}:
        raise UsageError("there are no inputs: their first axis has length 0")
    trees.refuse_not_finite(tensors, "inputs", lambda i: f"sample {i}")
    return tensors


def _pieces(x: Tree) -> Iterator[Tree]:
    length = len(next(leaf for _, leaf in trees.leaves(x)))
    for index in ranges(length, BATCH):
        yield _slice(x, slice(int(index[0]), int(index[-1]) + 1))


def _slice(x: Tree, chosen: slice) -> Tree:
    return trees.mapped(x, lambda leaf: leaf[chosen])


def arrays(tree: Any) -> Any:
    """Lists of plain numbers as an array, other trees as they are; UsageError for tensors without values."""
    if isinstance(tree, list) and _of_numbers(tree):
        try:
            return np.asarray(tree)
        except ValueError as error:
            raise UsageError(f"lists of numbers must have one length at each depth ({error})") from None
    for leaf in tree_leaves(tree):
        if isinstance(leaf, Tensor) and (leaf.is_meta or leaf.layout != torch.strided):
            kind = "on the meta device" if leaf.is_meta else f"of the layout {leaf.layout}"
            raise UsageError(
                f"a tensor {kind} cannot be used: give a dense one with values, as x.to_dense() is"
            )
    return tree


def _of_numbers(tree: Any) -> bool:
    while isinstance(tree, list) and tree:
        tree = tree[0]
    return isinstance(tree, int | float | np.number)

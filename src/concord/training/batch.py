"""Samples and targets of one update."""

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils._pytree import tree_flatten, tree_leaves, tree_map, tree_unflatten

from concord.errors import ShapeError, UsageError
from concord.tasks.task import Tree


class Batch(NamedTuple):
    """Inputs and targets of one update: one of each for all members, or one per member.

    A member is called with its input; a tuple is the arguments of a member with several inputs. Members
    compare predictions only when row b is the same sample for all of them. ``aligned`` says so: true for a
    shared batch and for several views of the same samples, false when every member has samples of its own.
    """

    inputs: tuple[Tree, ...]  # each a tensor (B, ...) or a tree of such
    targets: tuple[Tree, ...]
    aligned: bool = True
    unlabelled: Tree | None = None  # (U, ...), on which members only agree

    @property
    def samples(self) -> int:
        """B, the number of samples of each member."""
        return count(self.targets[0])

    def of(self, member: int) -> tuple[Tree, Tree]:
        """Inputs and targets of one member."""
        x = self.inputs[member if len(self.inputs) > 1 else 0]
        y = self.targets[member if len(self.targets) > 1 else 0]
        return x, y

    def parts(self, most: int | None) -> "list[Batch]":
        """The batch in parts of nearly equal size, at most that many samples each, all unlabelled ones in
        all.

        From 3 on no part has a single sample, of which batch normalisation has no statistics.
        """
        number = 1 if most is None else -(-self.samples // most)
        if number == 1:
            return [self]
        inputs = zip(*(_chunks(x, number) for x in self.inputs), strict=True)
        targets = zip(*(_chunks(y, number) for y in self.targets), strict=True)
        return [self._replace(inputs=x, targets=y) for x, y in zip(inputs, targets, strict=True)]


def count(tree: Tree) -> int:
    """Samples of a tree: the length of its first tensor."""
    leaves = tree_leaves(tree)
    if not leaves or not isinstance(leaves[0], Tensor) or leaves[0].ndim == 0:
        raise ShapeError(f"expected tensors with samples along the first axis, got {_described(tree)}")
    return len(leaves[0])


def _described(tree: Tree) -> str:
    return f"a tensor of shape {tuple(tree.shape)}" if isinstance(tree, Tensor) else type(tree).__name__


def _chunks(tree: Tree, number: int) -> Sequence[Tree]:
    leaves, spec = tree_flatten(tree)
    pieces = zip(*(leaf.tensor_split(number) for leaf in leaves), strict=True)
    return [tree_unflatten(list(piece), spec) for piece in pieces]


def joined(trees: Sequence[Tree]) -> Tree:
    """Trees of one form put together along the samples."""
    return trees[0] if len(trees) == 1 else tree_map(lambda *leaves: torch.cat(leaves), *trees)


def batches_of(given: Iterable["Batch | Sequence[Tree]"]) -> Iterator[Batch]:
    """Batches as they are, and the pairs (inputs, targets) that a DataLoader gives; UsageError otherwise."""
    for item in given:
        if isinstance(item, Batch):
            if not (isinstance(item.inputs, tuple) and isinstance(item.targets, tuple)):
                raise UsageError(
                    "Batch takes tuples: Batch((x,), (y,)) for all members together, or an input and a target"
                    f" for each member; got {type(item.inputs).__name__} and {type(item.targets).__name__}"
                )
            yield item
        elif isinstance(item, tuple | list) and len(item) == 2:
            yield Batch((item[0],), (item[1],))
        else:
            raise UsageError(
                f"a batch is a Batch, or a pair of inputs and targets; got {type(item).__name__}"
                + (f" of {len(item)}" if isinstance(item, tuple | list) else "")
            )

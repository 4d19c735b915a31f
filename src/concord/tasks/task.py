"""What an output means: the seam between the loop and a kind of problem.

The loop, the evaluation, early stopping and the run folder know a problem through this protocol alone.
Outputs and targets are trees: a tensor, or tuples, lists and dictionaries of trees, each tensor with samples
along its first axis.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol, TypeVar, runtime_checkable

from torch import Tensor

Tree = Any  # Tensor | tuple[Tree, ...] | list[Tree] | dict[str, Tree]


class Compared(NamedTuple):
    """The predictions on which members meet: one row for each sample, step, pixel or positive anchor.

    ``weights`` say how much a row counts; those of one sample add up to at most 1, so that the mean over the
    batch is a cost per sample. All members give the same rows in the same order.

    Shape: rows (R, K), weights (R,), labels (R,) or None where rows have no class of their own
    """

    rows: Tensor
    weights: Tensor
    labels: Tensor | None = None


class Watched(NamedTuple):
    """The one number that early stopping and "best" look at, and whether less of it is better."""

    value: float
    less_is_better: bool = True


class Scores(Protocol):
    """Figures of every member and of the ensemble, as a frozen record."""

    @property
    def members(self) -> Mapping[str, Any]: ...
    @property
    def ensemble(self) -> Any: ...
    def to_dict(self) -> dict[str, Any]: ...  # plain values, as they go into JSON


S = TypeVar("S", bound=Scores)


class Task(Protocol[S]):
    """A kind of problem. Tallies are sums: those of two batches add up to the tally of both."""

    def loss(self, output: Tree, target: Tree) -> Tensor: ...  # -> (B,), one number per sample
    def compare(self, output: Tree, target: Tree | None) -> Compared: ...  # None: samples without a target
    def combine(self, outputs: Sequence[Tree]) -> Tree: ...  # what the ensemble predicts
    def tally(self, outputs: Sequence[Tree], targets: Sequence[Tree]) -> Tensor: ...  # (size,) float64
    def size(self, members: int) -> int: ...  # numbers in a tally
    def scores(self, tally: Tensor, names: Sequence[str]) -> S: ...
    def read(self, plain: Mapping[str, Any]) -> S: ...  # the scores that ``to_dict`` wrote down
    def watched(self, scores: S) -> Watched: ...
    def kept(self, output: Tree) -> Mapping[str, Tensor]: ...  # what is kept of a test set; may be empty


@runtime_checkable
class Bounded(Protocol):
    """A task whose outputs are large: what it keeps is that of the first ``keeps`` samples."""

    @property
    def keeps(self) -> int: ...


@runtime_checkable
class Ranking(Protocol):
    """A task some of whose figures need all samples at once, as average precision does, which ranks them.

    In evaluation its ``rows`` of all batches are put one behind the other, and ``ranked`` takes the place of
    ``scores``, which has what sums can tell and is asked about the batches of a training.
    """

    def rows(self, outputs: Sequence[Tree], targets: Sequence[Tree]) -> Tensor: ...  # (R, columns)
    def ranked(self, tally: Tensor, rows: Tensor, names: Sequence[str]) -> Any: ...  # scores

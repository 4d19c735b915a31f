"""What goes into members: samples by number, in memory, on disk, decoded on the way, or a user's own."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from concord.data.normalise import Normalise

Tree = Tensor | tuple["Tree", ...] | list["Tree"] | dict[str, "Tree"]
Sizes = tuple[int | str, ...]  # of one sample; a size that varies has a name: ("T", 8)
Shapes = Sizes | tuple["Shapes", ...] | Mapping[str, "Shapes"]
Kinds = torch.dtype | tuple["Kinds", ...] | Mapping[str, "Kinds"]


@dataclass(frozen=True)
class Draw:
    """What random changes of a sample depend on, besides its number."""

    seed: int
    epoch: int


@dataclass(frozen=True)
class Spec:
    """What the inputs of a data set are; interface.json and exports hold the same.

    ``shape`` and ``dtype`` are those of one sample as ``batch`` gives it, and trees where inputs are.
    ``normalise`` is applied to a batch before members see it; None: they see it as it is.
    """

    kind: str
    shape: Shapes
    dtype: Kinds
    classes: tuple[str, ...] = ()
    normalise: Normalise | None = None


class Dataset(Protocol):
    """Samples by number. All that may be asked of it is a pure function of what is asked."""

    @property
    def spec(self) -> Spec: ...

    @property
    def fingerprint(self) -> str: ...  # equal for equal data

    def __len__(self) -> int: ...

    def batch(self, index: Tensor, draw: Draw | None) -> tuple[Tree, Tree]:
        """Inputs and targets of the samples ``index`` (B,), changed at random as (draw, sample) says.

        Without ``draw`` nothing is drawn: that is for evaluation.
        """
        ...

    def name(self, i: int) -> str:
        """What messages call sample ``i``."""
        ...


@runtime_checkable
class Streamed(Protocol):
    """Samples that are pieces of ``streams`` streams in stored order: a batch is one piece of each."""

    @property
    def streams(self) -> int: ...


@runtime_checkable
class Bounded(Protocol):
    """Samples of which a batch without draws has at most ``at_once``: large ones, or of several sizes."""

    @property
    def at_once(self) -> int: ...

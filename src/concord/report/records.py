"""What a report is made of. The command line reads run folders and fills these; nothing here reads a file.

A score has three names: a measure (``test_error``, ``valid_error``, ``test_nll``, ...), a column (a member's
name, or ``ENSEMBLE``) and, in a study, a setting (cost, weight). Errors are fractions, here and everywhere.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from concord.consensus.names import NONE

if TYPE_CHECKING:  # tables of a study are printed without torch
    from torch import Tensor

    from concord.cost.record import Priced
    from concord.runs.corruptions import Corruptions
    from concord.runs.uncertainty import Uncertainty

ALONE = "alone"  # the cost of a member that is trained by itself

Setting = tuple[str, float]  # cost and weight, for example ("l2", 0.01)
Series = Mapping[tuple[str, str], tuple[float, ...]]  # (split, measure) -> one number per epoch


@dataclass(frozen=True, eq=False)
class MemberView:
    """One member of a run: its network, its costs, and the weights of its first convolution (N, C, k, k)."""

    name: str
    network: str
    parameters: int | None = None
    macs: int | None = None
    filters: "Tensor | None" = None
    priced: "Priced | None" = None  # what every layer costs


@dataclass(frozen=True, eq=False)
class Held:
    """The test set and the logits of every member on it; tensors on the CPU."""

    images: "Tensor | None"  # (N, C, H, W) uint8; None where the samples are not pictures or not kept
    labels: "Tensor"  # (N,)
    names: Sequence[str]  # N file names, or whatever tells one sample from another
    classes: tuple[str, ...]  # K
    logits: "Tensor"  # (M, N, K), members in the order of RunView.members


@dataclass(frozen=True, eq=False)
class DataView:
    """How many images of every class each part has, and what reading them brought up."""

    classes: tuple[str, ...]  # K
    counts: Mapping[str, Sequence[int]]  # train, valid, test -> images of each class
    notices: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class RunView:
    """One run folder: ``result`` has the keys of ``concord train --json``, ``metrics`` its log's lines."""

    name: str
    config: Mapping[str, Any]
    stamp: Mapping[str, Any]
    result: Mapping[str, Any]
    metrics: Sequence[Mapping[str, Any]]
    members: tuple[MemberView, ...]
    held: Held | None = None
    samples: int | None = None  # in the test set
    data: DataView | None = None
    uncertainty: "Uncertainty | None" = None
    corruptions: "Corruptions | None" = None


@dataclass(frozen=True)
class Cell:
    """One run of a study: ``scores[measure][column]``, the lines of its metrics.jsonl, and its votes.

    A run may count for some columns only: members taught by others, or one wide network for the ensemble.
    A member that was trained by itself is a cell of cost ``ALONE`` and one member; its row is shared with
    the other members of the set that the study compares it with.
    """

    cost: str
    weight: float
    members: tuple[str, ...]
    seed: int
    scores: Mapping[str, Mapping[str, float]]
    metrics: Sequence[Mapping[str, Any]] = ()
    votes: Mapping[str, Sequence[int]] = field(default_factory=dict)  # column -> class of each test sample
    sizes: Mapping[str, tuple[int, int]] = field(default_factory=dict)  # column -> parameters, MACs
    pairs: Mapping[str, float] = field(default_factory=dict)  # disagreement, ...: mean over pairs of members
    seconds: float | None = None  # of training
    # column -> multiply-accumulates of the training that it took, with that of its teachers
    training_macs: Mapping[str, int | None] = field(default_factory=dict)

    @property
    def setting(self) -> Setting:
        return self.cost, self.weight


@dataclass(frozen=True)
class Published:
    """Someone else's figures for the settings of a study, and the curves behind them.

    ``scores[setting][measure][column]`` as in ``Cell``; ``curves[setting][column]`` holds a series for
    each split (train, test) and measure (error, nll). ``proxy[column]`` is the mean and the sample standard
    deviation of the test error of those runs that differ by chance alone.
    """

    source: str
    scores: Mapping[Setting, Mapping[str, Mapping[str, float]]]
    curves: Mapping[Setting, Mapping[str, Series]] = field(default_factory=dict)
    proxy: Mapping[str, tuple[float, float]] = field(default_factory=dict)


@dataclass(frozen=True)
class StudyView:
    """A grid of runs. ``baselines`` names the costs that every other row is compared with, seed by seed."""

    name: str
    cells: tuple[Cell, ...]
    baselines: tuple[str, ...] = (NONE, ALONE)
    published: Published | None = None
    notices: tuple[str, ...] = ()  # what the runs report of their data
    looked_at: str | None = None  # the run that the page shows closely, and why this one

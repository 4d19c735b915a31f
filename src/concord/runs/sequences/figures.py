"""From the end of a run on sequences to its figures, and what its members cost."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn

from concord.cost.count import count
from concord.cost.record import Cost
from concord.data.dataset import Dataset
from concord.data.sequences.samples import Sequences
from concord.data.sequences.streams import Streams
from concord.data.sequences.text import Windows
from concord.runs.ready import RunResult
from concord.runs.result import Result, diversity_of, ensemble_of, members_of
from concord.runs.sequences.interface import SequenceInterface
from concord.runs.sequences.members import example
from concord.runs.sequences.result import Spent, result_of
from concord.tasks.classify import ClassScores
from concord.training.final import Final


def longest(part: Dataset) -> int:
    """Steps of the longest sequence."""
    if isinstance(part, Sequences):
        return int(part.listed.problem.lengths.max())
    assert isinstance(part, Windows | Streams)
    return part.steps


def costs(members: Mapping[str, nn.Module], interface: SequenceInterface, steps: int) -> dict[str, Cost]:
    """Parameters and multiply-accumulates of every member, on one sequence of so many steps."""
    return {name: count(member, *example(interface, 1, steps)) for name, member in members.items()}


@dataclass(frozen=True)
class Where:
    """What figures are of: a run, data, and how many steps a sequence has that is counted."""

    run: str
    fingerprint: str
    steps: int


def document_of(
    done: Final[Any], prices: Mapping[str, Cost], where: Where, notices: tuple[str, ...]
) -> RunResult:
    """The figures as a record: those of every classifier, or of steps and labels."""
    if not isinstance(done.test, ClassScores):
        spent = Spent(
            where.run,
            done.seconds,
            done.samples_per_second,
            done.epochs,
            done.checkpoint,
            where.fingerprint,
            where.steps,
        )
        return result_of(done.test, done.valid, prices, spent, notices)
    return Result(
        members_of(done.test, done.valid, prices),
        ensemble_of(done.test, done.valid),
        diversity_of(done.test),
        where.run,
        done.seconds,
        done.samples_per_second,
        done.epochs,
        done.checkpoint,
        where.fingerprint,
        notices,
    )

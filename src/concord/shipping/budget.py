"""How the seconds of a search are spent: which runs, and how many epochs each. Numbers in, numbers out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

SEARCH = 0.3  # share of the seconds for short runs of the candidates
LEAST = 3  # epochs of a run that says anything
SHORT = 12  # epochs of the first short runs at most
ENOUGH = 15  # epochs of the full runs, for which fewer ways are tried
FULL = 200  # epochs of the full runs at most
PLAIN, ONCE, COLLABORATING, CHAIN, ALONE = "plain", "once", "collaborating", "chain", "alone"
WAYS = (PLAIN, ONCE, COLLABORATING, CHAIN)  # in the order in which they are run; the last is left out first


@dataclass(frozen=True)
class Line:
    """Seconds of a run: ``fixed`` and, for each epoch, ``epoch``."""

    fixed: float
    epoch: float

    def seconds(self, epochs: int) -> float:
        return self.fixed + epochs * self.epoch

    def times(self, factor: float) -> "Line":
        """Of a machine that needs ``factor`` times as long."""
        return Line(factor * self.fixed, factor * self.epoch)


@dataclass(frozen=True)
class Rung:
    """So many candidates are trained for so many epochs; the better half stays."""

    runs: int
    epochs: int


@dataclass(frozen=True)
class Halving:
    """The candidates that there is time for, and the rungs; without rungs the one candidate is the choice."""

    names: tuple[str, ...]
    rungs: tuple[Rung, ...]
    seconds: float  # if the costlier half stays at each rung


@dataclass(frozen=True)
class Full:
    """The ways that there is time for, and their epochs."""

    ways: tuple[str, ...]
    epochs: int
    seconds: float


def halving(lines: Mapping[str, Line], seconds: float, whole: float) -> Halving:
    """Successive halving over candidates: all for e epochs, the better half of them for 2 e.

    Where the seconds give less than ``LEAST`` epochs, the candidate with the slowest epochs is left out, and
    so on; where they give them to no two, the choice is the slowest that gets ``ENOUGH`` epochs in the
    ``whole`` time, else the fastest. At most ``SHORT`` epochs.

    Source: K. Jamieson, A. Talwalkar, "Non-stochastic best arm identification and hyperparameter
    optimization", AISTATS 2016, algorithm 1. Departure: a longer run starts over, because its learning rate
    falls later.
    """
    names = sorted(lines, key=lambda name: lines[name].epoch)  # the fastest first
    while len(names) > 1:
        sizes = [len(names)] if len(names) == 2 else [len(names), -(-len(names) // 2)]
        costs = [_slowest([lines[name] for name in names], size) for size in sizes]
        epochs = _epochs(
            Line(sum(c.fixed for c in costs), sum(2**i * c.epoch for i, c in enumerate(costs))), seconds
        )
        if epochs >= LEAST:
            epochs = min(epochs, SHORT)
            rungs = tuple(Rung(size, 2**i * epochs) for i, size in enumerate(sizes))
            spent = sum(cost.seconds(rung.epochs) for cost, rung in zip(costs, rungs, strict=True))
            return Halving(tuple(names), rungs, spent)
        names.pop()
    able = [name for name in lines if lines[name].seconds(ENOUGH) <= whole]
    best = max(able, key=lambda name: lines[name].epoch) if able else names[0]
    return Halving((best,), (), 0.0)


def full(lines: Mapping[str, Line], seconds: float) -> Full | None:
    """All ways for ``ENOUGH`` epochs or more; else without the last of them, and so on; else one alone:
    a partner that teaches nobody is of no use. None if that is less than ``LEAST`` epochs.
    """
    for count in range(len(WAYS), 1, -1):
        found = _full(lines, WAYS[:count], seconds)
        if found.epochs >= ENOUGH:
            return found
    alone = _full(lines, (ALONE,), seconds)
    return alone if alone.epochs >= LEAST else None


def _full(lines: Mapping[str, Line], ways: tuple[str, ...], seconds: float) -> Full:
    total = Line(sum(lines[way].fixed for way in ways), sum(lines[way].epoch for way in ways))
    epochs = min(FULL, _epochs(total, seconds))
    return Full(ways, epochs, total.seconds(epochs))


def room(way: str, expected: Mapping[str, float], taken: Mapping[str, float], seconds: float) -> bool:
    """Whether the seconds for all ways have room for one more, at the speed of those that are done.

        sum_d taken_d + expected_way sum_d taken_d / sum_d expected_d <= seconds      d: ways that are done

    The first one always has room.
    """
    if not taken:
        return True
    done = sum(taken.values())
    return done + expected[way] * done / sum(expected[name] for name in taken) <= seconds


def lines_of_ways(small: Line, pair: Line) -> dict[str, Line]:
    """Each way's seconds, from those of the network by itself and of it beside its partner, both learning.

    A teacher computes a third of what it computes when it learns: its gradients are the other two. ``once``
    has the pair as teachers, ``chain`` one more small network.
    """
    teaching = pair.epoch / 3
    return {
        PLAIN: pair,
        ONCE: Line(pair.fixed, small.epoch + teaching),
        COLLABORATING: pair,
        CHAIN: Line(pair.fixed, small.epoch + teaching + small.epoch / 3),
        ALONE: small,
    }


def _slowest(lines: Sequence[Line], count: int) -> Line:
    """The sum of that many of the slowest of them, which are the last ones."""
    chosen = lines[-count:]
    return Line(sum(line.fixed for line in chosen), sum(line.epoch for line in chosen))


def _epochs(line: Line, seconds: float) -> int:
    """Whole epochs that the seconds have room for."""
    return max(0, int((seconds - line.fixed) / line.epoch))

"""Statistics of a study: means with intervals, differences seed by seed, the weight that validation chooses.

Every difference is paired: two settings that share a seed share their data order and their split, so the
difference per seed varies less than the scores do. Intervals are Student's t at 95 %.
"""

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from scipy import stats

from concord.consensus.names import ENSEMBLE
from concord.errors import UsageError
from concord.report.records import ALONE, Cell, Setting, StudyView
from concord.runs.intervals import LEVEL


@dataclass(frozen=True)
class Summary:
    """Mean over n runs, sample standard deviation, and the interval of the mean; None where n is 1."""

    n: int
    mean: float
    sd: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Difference:
    """Mean of value - baseline over the n seeds that both have, interval and two-sided p (None at n = 1)."""

    n: int
    mean: float
    low: float | None
    high: float | None
    p: float | None


@dataclass(frozen=True)
class Choice:
    """The weight of a cost that the validation split chose for a column, and the test error it then has."""

    cost: str
    weight: float
    column: str
    valid: Summary
    test: Summary


def mean(values: Sequence[float]) -> float:
    """sum x_i / n"""
    return statistics.fmean(values)


def standard_deviation(values: Sequence[float]) -> float | None:
    """sqrt(sum (x_i - mean)^2 / (n - 1)); one value has none."""
    return float(np.std(values, ddof=1)) if len(values) > 1 else None


def interval(values: Sequence[float]) -> tuple[float, float] | None:
    """mean -+ t(0.975, n - 1) sd / sqrt(n), the 95 % interval of the mean; one value has none."""
    sd = standard_deviation(values)
    if sd is None:
        return None
    half = float(stats.t.ppf((1 + LEVEL) / 2, len(values) - 1)) * sd / math.sqrt(len(values))
    return mean(values) - half, mean(values) + half


def summary(values: Sequence[float]) -> Summary:
    """Mean, standard deviation and interval of at least one value."""
    if not values:
        raise UsageError("a summary needs at least one value; no run of the study has this score")
    low, high = interval(values) or (None, None)
    return Summary(len(values), mean(values), standard_deviation(values), low, high)


def paired_difference(values: Mapping[int, float], baseline: Mapping[int, float]) -> Difference | None:
    """Paired t test of value - baseline over the seeds that both have, as ``scipy.stats.ttest_rel`` does it.

    Without a common seed there is nothing to compare: None. Where every seed differs by the same amount the
    interval is that point, and p its limit: 1 at no difference, 0 at any other.
    """
    seeds = sorted(values.keys() & baseline.keys())
    if not seeds:
        return None
    ours, theirs = [values[s] for s in seeds], [baseline[s] for s in seeds]
    differences = np.subtract(ours, theirs)
    middle = float(differences.mean())
    if len(seeds) == 1:
        return Difference(1, middle, None, None, None)
    # scipy divides by the standard deviation; what rounding leaves of a constant must not become a tiny p.
    rounding = 1e-12 * max(np.abs(ours).max(), np.abs(theirs).max())
    if np.ptp(differences) <= rounding:
        return Difference(len(seeds), middle, middle, middle, 1.0 if abs(middle) <= rounding else 0.0)
    test = stats.ttest_rel(ours, theirs)
    low, high = test.confidence_interval(LEVEL)
    return Difference(len(seeds), middle, float(low), float(high), float(test.pvalue))


def by_seed(
    cells: Iterable[Cell], setting: Setting, members: tuple[str, ...], measure: str, column: str
) -> dict[int, float]:
    """Seed -> score of one column of one row. A member trained alone counts for every set that it is in."""
    found = {}
    for cell in cells:
        alone = cell.cost == ALONE and cell.members == (column,) and column in members
        score = cell.scores.get(measure, {}).get(column)
        if cell.setting == setting and (cell.members == members or alone) and score is not None:
            found[cell.seed] = score
    return found


def churn(votes: Sequence[Sequence[int]]) -> float | None:
    """Mean over pairs of runs of the share of samples that they name differently; None for fewer than two.

    Source: M. Milani Fard, Q. Cormier, K. Canini, M. Gupta, "Launch and iterate: reducing prediction churn",
    NIPS 2016, section 2. Shape: R times (N,) -> a fraction
    """
    runs = [np.asarray(v) for v in votes]
    if len({len(run) for run in runs}) > 1:
        raise UsageError(f"churn compares runs on the same samples, got {[len(run) for run in runs]} of them")
    pairs = [float(np.mean(a != b)) for a, b in combinations(runs, 2)]
    return mean(pairs) if pairs else None


def member_sets(cells: Iterable[Cell]) -> list[tuple[str, ...]]:
    """The sets of members that were trained together, in order of appearance; one table is drawn for each."""
    cells = list(cells)
    together = dict.fromkeys(cell.members for cell in cells if len(cell.members) > 1)
    inside = {name for members in together for name in members}
    single = dict.fromkeys(c.members for c in cells if len(c.members) == 1 and c.members[0] not in inside)
    return [*together, *single]


def columns(members: tuple[str, ...]) -> tuple[str, ...]:
    """The members and, where there are several, the ensemble."""
    return (*members, ENSEMBLE) if len(members) > 1 else members


def settings(study: StudyView, members: tuple[str, ...]) -> list[Setting]:
    """The rows of a table: baselines first, then costs as they appear, large weights before small ones."""
    there = [
        c for c in study.cells if c.members == members or (c.cost == ALONE and set(c.members) <= set(members))
    ]
    costs = list(dict.fromkeys(cell.cost for cell in there))
    costs.sort(key=lambda cost: cost not in study.baselines)
    return [
        (cost, weight)
        for cost in costs
        for weight in sorted({cell.weight for cell in there if cell.cost == cost}, reverse=True)
    ]


def choose(cells: Sequence[Cell], members: tuple[str, ...], column: str = ENSEMBLE) -> list[Choice]:
    """For each cost the weight of the smallest mean validation error; equal errors go to the smaller weight.

    The test error is looked at for the chosen weight only. Costs without a validation error are left out.
    """
    best: dict[str, tuple[float, float]] = {}  # cost -> (validation error, weight)
    for cost, weight in dict.fromkeys(cell.setting for cell in cells):
        valid = by_seed(cells, (cost, weight), members, "valid_error", column)
        error = round(mean(list(valid.values())), 12) if valid else math.nan  # a tie survives rounding
        if not math.isnan(error):
            best[cost] = min(best.get(cost, (math.inf, math.inf)), (error, weight))
    choices = []
    for cost, (_, weight) in best.items():
        valid = by_seed(cells, (cost, weight), members, "valid_error", column)
        test = by_seed(cells, (cost, weight), members, "test_error", column)
        if test:
            known = summary([*valid.values()]), summary([*test.values()])
            choices.append(Choice(cost, weight, column, *known))
    return choices


def preferred(choices: Sequence[Choice], against: str | None) -> Choice:
    """That of the smallest mean validation error; of equal ones the baseline, then the smallest weight."""

    def rank(choice: Choice) -> tuple[float, bool, float]:
        return round(choice.valid.mean, 12), choice.cost != against, choice.weight

    return min(choices, key=rank)

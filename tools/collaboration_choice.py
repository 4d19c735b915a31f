"""What the validation split would choose among the rows of the map of collaboration.

Members are chosen by their mean error on the validation split, the ensemble by its own: what is to be shipped
decides. The plain ensemble is taken where it is among the best.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from statistics import fmean

from collaboration_rows import EVERY, PLAIN, Place, Row

from concord.consensus.names import ENSEMBLE
from concord.consensus.recommended import WEIGHTS
from concord.report.records import Setting
from concord.studies.settings import ONCE

CHOSEN: Setting = ("chosen by validation", 0.0)  # of all arms and plain
EITHER: Setting = ("recommended or plain", 0.0)  # of these two
RECOMMENDED = [(f"{cost} linear 1", weight) for cost, weight in WEIGHTS.items()]


def with_choices(rows: Sequence[Row]) -> list[Row]:
    """The rows, and of each seed once more those of the settings that its validation split prefers.

    What only some seeds of a place have is no candidate, and a network that was taught once neither.
    """
    places: dict[Place, list[Row]] = defaultdict(list)
    for row in rows:
        if row.cost != ONCE and row.seed != EVERY:
            places[row.place].append(row)
    chosen = [row for found in places.values() for row in _chosen(found)]
    return [*rows, *chosen]


def _chosen(rows: Sequence[Row]) -> Iterator[Row]:
    either = [row for row in rows if row.setting in (PLAIN, *RECOMMENDED)]
    for of, name in ((rows, CHOSEN), (either, EITHER)):
        yield from _preferred(of, name, lambda row: row.column != ENSEMBLE)
        yield from _preferred(of, name, lambda row: row.column == ENSEMBLE)


def _preferred(rows: Sequence[Row], name: Setting, shipped: Callable[[Row], bool]) -> Iterator[Row]:
    """The rows of what is shipped in the setting where its mean validation error is least, seed by seed."""
    seeds = {row.seed for row in rows}
    errors: dict[Setting, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for row in filter(shipped, rows):
        if row.valid_error is not None:
            errors[row.setting][row.seed].append(row.valid_error)
    candidates = {setting: of for setting, of in errors.items() if of.keys() == seeds}
    for seed in sorted(seeds) if candidates else ():
        best = min(candidates, key=lambda setting: (fmean(candidates[setting][seed]), setting != PLAIN))
        for row in filter(shipped, rows):
            if row.seed == seed and row.setting == best:
                yield replace(row, cost=name[0], weight=name[1], disagreement=None)

"""What the rows of a study cost and how their members differ: sizes, seconds, disagreement."""

from collections.abc import Callable, Sequence

from concord.report.compare import settings, summary
from concord.report.records import ALONE, ENSEMBLE, Cell, StudyView
from concord.report.tables import Table, entries
from concord.report.text import MISSING, decimal, percent, whole

WRITERS = {"disagreement": percent, "error_correlation": lambda r: decimal(r, 2)}


def sizes_table(study: StudyView, members: tuple[str, ...]) -> Table:
    """Parameters and multiply-accumulates of every member, of all together, and of one network instead."""
    found: dict[str, tuple[int, int]] = {}
    for cell in _cells(study, members):
        for column, size in cell.sizes.items():
            found.setdefault(cell.cost if column == ENSEMBLE else column, size)
    rows = [entries(name, *map(whole, size)) for name, size in found.items()]
    if len(members) > 1 and all(name in found for name in members):
        totals = (sum(found[name][i] for name in members) for i in (0, 1))
        rows.insert(len(members), entries("all members", *map(whole, totals)))
    return Table(f"Sizes: {' + '.join(members)}", ("network", "parameters", "MACs"), tuple(rows))


def pairs_table(study: StudyView, members: tuple[str, ...]) -> Table:
    """Disagreement and error correlation of the members, mean over pairs and seeds; seconds of training."""
    rows = []
    for cost, weight in settings(study, members):
        cells = [cell for cell in _cells(study, members) if cell.setting == (cost, weight)]
        pairs = [
            _mean([cell.pairs[measure] for cell in cells if measure in cell.pairs], write)
            for measure, write in WRITERS.items()
        ]
        rows.append(entries(cost, f"{weight:g}", *pairs, _mean(_seconds(cells), _rounded)))
    measured = any(cell.pairs or cell.seconds is not None for cell in _cells(study, members))
    return Table(
        f"Members and time: {' + '.join(members)}",
        ("cost", "weight", "disagreement %", "error correlation", "seconds"),
        tuple(rows) if measured else (),
        notes=(
            "Disagreement: share of the test samples that two members name differently. Error correlation: 1 "
            "where two members fail on the same samples, 0 where their mistakes are independent.",
            "Seconds of training per seed, summed over the runs of a row, while others may have run beside.",
        ),
    )


def _cells(study: StudyView, members: tuple[str, ...]) -> list[Cell]:
    """The runs of a table: of these members, and of each of them alone."""
    alone = [cell for cell in study.cells if cell.cost == ALONE and set(cell.members) <= set(members)]
    return [*(cell for cell in study.cells if cell.members == members and cell not in alone), *alone]


def _seconds(cells: Sequence[Cell]) -> list[float]:
    """The time of every seed, over all runs that a row needs; none if one of them is unknown."""
    seeds = dict.fromkeys(cell.seed for cell in cells)
    times = [[cell.seconds for cell in cells if cell.seed == seed] for seed in seeds]
    return [sum(known) for spent in times if len(known := [t for t in spent if t is not None]) == len(spent)]


def _mean(values: Sequence[float], write: Callable[[float | None], str]) -> str:
    if not values:
        return MISSING
    known = summary(values)
    return write(known.mean) if known.sd is None else f"{write(known.mean)} ± {write(known.sd)}"


def _rounded(value: float | None) -> str:
    return decimal(value, 0)

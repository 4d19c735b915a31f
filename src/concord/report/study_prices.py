"""What the rows of a study cost and how their members differ: sizes, seconds, disagreement."""

from collections.abc import Callable, Sequence

from concord.consensus.names import ENSEMBLE
from concord.report.compare import settings, summary
from concord.report.records import ALONE, Cell, StudyView
from concord.report.tables import Table, entries
from concord.report.text import MISSING, decimal, percent, whole

WRITERS: dict[str, Callable[[float | None], str]] = {
    "disagreement": percent,
    "error_correlation": lambda r: decimal(r, 2),
    "probabilities_error": percent,
}
HEADER = ("disagreement %", "error correlation", "error %, mean of probabilities")


def sizes_table(study: StudyView, members: tuple[str, ...]) -> Table:
    """Parameters and multiply-accumulates of every member, of all together, and of one network instead."""
    cells = _cells(study, members)
    first = reversed(cells)  # the plain row has one network for each member, snapshots have several
    known = {name: cell.sizes[name] for cell in first for name in members if name in cell.sizes}
    rows = [entries(name, *map(whole, known[name])) for name in members if name in known]
    if len(members) == len(known) > 1:
        rows.append(entries("all members", *(whole(sum(size[i] for size in known.values())) for i in (0, 1))))
    instead = {cell.cost: cell.sizes[ENSEMBLE] for cell in cells if ENSEMBLE in cell.sizes}
    rows += [entries(f"{cost} network", *map(whole, size)) for cost, size in instead.items()]
    return Table(f"Sizes: {' + '.join(members)}", ("network", "parameters", "MACs"), tuple(rows))


def pairs_table(study: StudyView, members: tuple[str, ...]) -> Table:
    """How members differ, means over pairs and seeds; the other way to ask them; seconds of training."""
    rows = []
    for cost, weight in settings(study, members):
        cells = [cell for cell in _cells(study, members) if cell.setting == (cost, weight)]
        pairs = [
            _mean([cell.pairs[measure] for cell in cells if measure in cell.pairs], write)
            for measure, write in WRITERS.items()
        ]
        seeds = len({cell.seed for cell in cells})
        rows.append(
            entries(cost, f"{weight:g}", f"{seeds}", *pairs, _mean(_seconds(cells, members), _rounded))
        )
    measured = any(cell.pairs or cell.seconds is not None for cell in _cells(study, members))
    return Table(
        f"Members and time: {' + '.join(members)}",
        ("cost", "weight", "seeds", *HEADER, "seconds"),
        tuple(rows) if measured else (),
        notes=(
            "Disagreement: share of the test samples that two members name differently. Error correlation: 1 "
            "where two members fail on the same samples, 0 where their mistakes are independent. Mean of "
            "probabilities: test error of the ensemble that averages these; elsewhere it averages logits.",
            "Seconds of training per seed, summed over the runs of a row, while other runs may have used the "
            "same cores. Not in them: the training of teachers, which are other rows.",
        ),
    )


def _cells(study: StudyView, members: tuple[str, ...]) -> list[Cell]:
    """The runs of a table: of these members, and of each of them alone."""
    alone = [cell for cell in study.cells if cell.cost == ALONE and set(cell.members) <= set(members)]
    return [*(cell for cell in study.cells if cell.members == members and cell not in alone), *alone]


def _seconds(cells: Sequence[Cell], members: tuple[str, ...]) -> list[float]:
    """The time of every seed whose runs are all there: one of all members, or one of each."""
    found = []
    for seed in dict.fromkeys(cell.seed for cell in cells):
        own = [cell for cell in cells if cell.seed == seed]
        columns = {column for cell in own for column in cell.sizes}
        times = [cell.seconds for cell in own if cell.seconds is not None]
        if len(times) == len(own) and (set(members) <= columns or ENSEMBLE in columns):
            found.append(sum(times))
    return found


def _mean(values: Sequence[float], write: Callable[[float | None], str]) -> str:
    if not values:
        return MISSING
    known = summary(values)
    return write(known.mean) if known.sd is None else f"{write(known.mean)} ± {write(known.sd)}"


def _rounded(value: float | None) -> str:
    return decimal(value, 0)

"""The tables of a study: scores of every setting, differences to the baselines, chosen weights.

Made for the shape of Noel 2017's figures A.7 to A.12: a row per setting, a column per member and one for the
ensemble.
"""

from collections.abc import Callable, Mapping

from concord.report.compare import (
    Choice,
    Difference,
    Summary,
    by_seed,
    choose,
    churn,
    columns,
    member_sets,
    paired_difference,
    preferred,
    settings,
    summary,
)
from concord.report.records import ALONE, Setting, StudyView
from concord.report.reproduction import reproduction_table
from concord.report.share_table import share_table
from concord.report.study_prices import pairs_table, sizes_table
from concord.report.tables import Entry, Table, scored
from concord.report.text import MISSING, decimal, percent, points, probability

MEASURES = {
    "test_error": "Test error in %",
    "test_nll": "Negative log-likelihood on the test set",
    "test_ece": "Expected calibration error on the test set",
}


def study_tables(study: StudyView) -> list[Table]:
    """Everything that a study says, per set of members: scores, differences to each baseline, choices."""
    tables = []
    for members in member_sets(study.cells):
        tables += [score_table(study, members, m) for m in MEASURES if _measured(study, m)]
        there = {cost for cost, _ in settings(study, members)}
        tables += [
            difference_table(study, members, b) for b in study.baselines if b in there and len(there) > 1
        ]
        tables += [share_table(study, members), reproduction_table(study, members)]
        tables += [choice_table(study, members), churn_table(study, members)]
        tables += [pairs_table(study, members), sizes_table(study, members)]
    return [table for table in tables if table.rows]


def _measured(study: StudyView, measure: str) -> bool:
    return any(measure in cell.scores for cell in study.cells)


def score_table(study: StudyView, members: tuple[str, ...], measure: str = "test_error") -> Table:
    """Mean +- sample standard deviation over the seeds, the best mean of each column marked."""
    rows = settings(study, members)
    header, body = ["cost", "weight", "seeds"], [[Entry(c), Entry(f"{w:g}")] for c, w in rows]
    for row, setting in zip(body, rows, strict=True):
        row.append(Entry(_seeds([len(s) for s in _scores(study, setting, members, measure).values() if s])))
    for column in columns(members):
        found = [_scores(study, setting, members, measure)[column] for setting in rows]
        means = [summary([*scores.values()]) if scores else None for scores in found]
        marks = scored([s.mean if s else None for s in means], str)
        header.append(column)
        for row, known, mark in zip(body, means, marks, strict=True):
            row.append(Entry(_mean(known, measure), mark.best))
        if study.published:
            theirs = [_published(study.published.scores, setting, measure, column) for setting in rows]
            header.append(f"{column}, published")
            for row, entry in zip(body, scored(theirs, _writer(measure)), strict=True):
                row.append(entry)
    notes = ["Mean ± sample standard deviation over the seeds; the best mean of each column is marked."]
    if study.published:
        notes.append(f"Published: {study.published.source}, one run per setting.")
    caption = f"{MEASURES.get(measure, measure)}: {' + '.join(members)}"
    return Table(caption, tuple(header), tuple(map(tuple, body)), names=1, notes=tuple(notes))


def _seeds(counts: list[int]) -> str:
    """``5``, or ``3 to 5`` where the columns of a row rest on different numbers of runs."""
    few, many = min(counts, default=0), max(counts, default=0)
    return f"{few}" if few == many else f"{few} to {many}"


def _scores(
    study: StudyView, setting: Setting, members: tuple[str, ...], measure: str
) -> dict[str, dict[int, float]]:
    return {c: by_seed(study.cells, setting, members, measure, c) for c in columns(members)}


def _published(
    scores: Mapping[Setting, Mapping[str, Mapping[str, float]]], setting: Setting, measure: str, column: str
) -> float | None:
    return scores.get(setting, {}).get(measure, {}).get(column)


def _writer(measure: str) -> Callable[[float | None], str]:
    return percent if measure.endswith("_error") else decimal


def _mean(known: Summary | None, measure: str) -> str:
    write = _writer(measure)
    if known is None or known.sd is None:
        return write(known.mean if known else None)
    return f"{write(known.mean)} ± {write(known.sd)}"


def difference_table(
    study: StudyView, members: tuple[str, ...], baseline: str, measure: str = "test_error"
) -> Table:
    """Paired difference of every row to the rows of one baseline cost, with its 95 % interval and p."""
    rows = settings(study, members)
    reference = next(setting for setting in rows if setting[0] == baseline)
    against = _scores(study, reference, members, measure)
    body = []
    for setting in [s for s in rows if s != reference]:
        scores = _scores(study, setting, members, measure)
        compared = [paired_difference(scores[c], against[c]) for c in columns(members)]
        if any(compared):
            row = [Entry(setting[0]), Entry(f"{setting[1]:g}")]
            body.append((*row, *(entry for difference in compared for entry in _difference(difference))))
    header = ["cost", "weight"]
    for column in columns(members):
        header += [f"{column} (95 %)", f"{column} p"]
    return Table(
        f"Difference of the test error to {baseline!r} in percentage points: {' + '.join(members)}",
        tuple(header),
        tuple(body),
        notes=("Paired over equal seeds, Student's t at 95 %; below zero is better than the baseline. "
               "p is not corrected for the number of rows.",),
    )  # fmt: skip


def _difference(difference: Difference | None) -> tuple[Entry, Entry]:
    if difference is None:
        return Entry(MISSING), Entry(MISSING)
    text = points(difference.mean)
    if difference.low is not None:
        text += f" ({points(difference.low)} to {points(difference.high)})"
    return Entry(text), Entry(probability(difference.p))


def choice_table(study: StudyView, members: tuple[str, ...]) -> Table:
    """Per column and cost the weight of the smallest validation error, and its score on the test set."""
    of_columns = [choose(study.cells, members, column) for column in columns(members)]
    choices = [choice for found in of_columns for choice in found]
    against = study.baselines[0] if study.baselines else None
    best = [_preference(study, members, preferred(found, against), against) for found in of_columns if found]
    note = "The test split took no part in the choice."
    if against:
        note += f" Differences are to {against!r}, in percentage points, paired over equal seeds."
    return Table(
        f"Weights chosen on the validation split: {' + '.join(members)}",
        ("column", "cost", "weight", "valid error %", "test error %", "difference (95 %)", "p"),
        tuple(_choice(study, members, choice, against) for choice in choices),
        names=2,
        notes=(note, f"The validation split prefers {'; '.join(best)}."),
    )


def _preference(study: StudyView, members: tuple[str, ...], choice: Choice, against: str | None) -> str:
    """The row, and how much lower its validation error is than that of the baseline."""
    weight = f" with weight {choice.weight:g}" if choice.weight else ""
    text = f"{choice.column} of {choice.cost!r}{weight}"
    lower = _to_baseline(study, members, choice, against, "valid_error")
    if lower is None:
        return text
    return (
        f"{text} ({points(lower.mean)} points of validation error to {against!r}, p {probability(lower.p)})"
    )


def _to_baseline(
    study: StudyView, members: tuple[str, ...], choice: Choice, against: str | None, measure: str
) -> Difference | None:
    """Of a chosen row to the baseline, seed by seed; None for the baseline itself."""
    baseline = next((cell.setting for cell in study.cells if cell.cost == against), None)
    if baseline is None or choice.cost == against:
        return None
    ours, theirs = (
        by_seed(study.cells, setting, members, measure, choice.column)
        for setting in ((choice.cost, choice.weight), baseline)
    )
    return paired_difference(ours, theirs)


def _choice(
    study: StudyView, members: tuple[str, ...], choice: Choice, against: str | None
) -> tuple[Entry, ...]:
    return (
        Entry(choice.column),
        Entry(choice.cost),
        Entry(f"{choice.weight:g}"),
        Entry(_mean(choice.valid, "valid_error")),
        Entry(_mean(choice.test, "test_error")),
        *_difference(_to_baseline(study, members, choice, against, "test_error")),
    )


def churn_table(study: StudyView, members: tuple[str, ...]) -> Table:
    """How many test samples a retraining with another seed names differently; no rows without kept votes."""
    body, found = [], []
    for cost, weight in settings(study, members):
        row = []
        for column in columns(members):
            wanted = (members, (column,)) if cost == ALONE else (members,)
            cells = [c for c in study.cells if c.setting == (cost, weight) and c.members in wanted]
            row.append(churn([c.votes[column] for c in cells if column in c.votes]))
        if any(value is not None for value in row):
            body.append((cost, weight))
            found.append(row)
    marked = [scored(list(values), percent) for values in zip(*found, strict=True)]
    rows = [
        (Entry(cost), Entry(f"{weight:g}"), *(column[i] for column in marked))
        for i, (cost, weight) in enumerate(body)
    ]
    return Table(
        f"Churn in %: {' + '.join(members)}",
        ("cost", "weight", *columns(members)),
        tuple(rows),
        notes=(
            "Share of test samples that two trainings with different seeds predict differently: mean over "
            "pairs.",
        ),
    )

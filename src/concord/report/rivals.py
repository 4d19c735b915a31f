"""Tables of classifiers side by side on the same test images."""

from collections.abc import Sequence

from concord.report.cost_totals import size_of
from concord.report.tables import Entry, Table, entries, scored
from concord.report.text import MISSING, decimal, percent, points, probability, whole
from concord.runs.intervals import wilson
from concord.runs.rivals import Rival, paired


def rival_table(rivals: Sequence[Rival], data: str) -> Table:
    """Everything about each; the published column stands there if any row has such a figure."""
    theirs = any(rival.published is not None for rival in rivals)
    header = (
        "classifier",
        "settings",
        "trained on",
        "test error %",
        "95 % interval",
        *(("published %",) if theirs else ()),
        "training s",
        "us per image",
        "support vectors",
        "numbers kept",
        "size",
        "MACs",
    )
    errors = scored([rival.error for rival in rivals], percent)
    rows = [_row(rival, error, theirs) for rival, error in zip(rivals, errors, strict=True)]
    notes = (
        f"{len(rivals[0].wrong):,} test images; no setting of a baseline was chosen on them. us per image: "
        "all of them asked at once, after a first call. Numbers kept: what must be stored to predict; size: "
        "at 4 bytes for each.",
    )
    return Table(f"Test error and cost on {data}", header, tuple(rows), 2, notes)


def _row(rival: Rival, error: Entry, theirs: bool) -> tuple[Entry, ...]:
    low, high = wilson(int(rival.wrong.sum()), len(rival.wrong))
    return (
        *entries(rival.name, rival.about, whole(rival.images)),
        error,
        *entries(f"{percent(low)} to {percent(high)}"),
        *(entries(percent(rival.published)) if theirs else ()),
        *entries(
            decimal(rival.fit_seconds, 1),
            decimal(rival.microseconds, 1),
            whole(sum(rival.support)) if rival.support else MISSING,
            whole(rival.numbers),
            size_of(rival.bytes),
            whole(rival.macs),
        ),
    )


def support_table(rivals: Sequence[Rival], classes: Sequence[str]) -> Table:
    """Support vectors of each class, for those that have any."""
    machines = [rival for rival in rivals if rival.support]
    rows = [entries(one.name, *map(whole, one.support), whole(sum(one.support))) for one in machines]
    return Table("Support vectors of each class", ("classifier", *classes, "all"), tuple(rows))


def pair_table(rivals: Sequence[Rival], reference: Rival) -> Table:
    """Every other one against the reference, on the same images."""
    pairs = [paired(rival, reference) for rival in rivals if rival is not reference]
    header = ("classifier", "only it wrong", "only the other wrong", "difference", "95 % interval", "p")
    rows = [
        entries(
            pair.name,
            whole(pair.only_this),
            whole(pair.only_other),
            points(pair.difference),
            f"{points(pair.low)} to {points(pair.high)}",
            probability(pair.p),
        )
        for pair in pairs
    ]
    notes = (
        f"Test images that exactly one of the two gets wrong; difference: its error minus that of "
        f"{reference.name}, in percentage points; p: McNemar's exact test.",
    )
    return Table(f"Against {reference.name}", header, tuple(rows), 1, notes)


def published_table(figures: Sequence[tuple[str, str, float]]) -> Table:
    """Method, images and error, as they were published."""
    rows = [entries(method, images, percent(error)) for method, images, error in figures]
    return Table("Published on MNIST", ("method", "images", "test error %"), tuple(rows), 2)

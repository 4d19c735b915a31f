"""The tables of single runs: costs and scores of the members, how they differ, what was configured."""

import itertools
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from concord.consensus.names import ENSEMBLE
from concord.report.records import DataView, RunView
from concord.report.tables import Entry, Table, entries, scored
from concord.report.text import MISSING, decimal, percent, whole
from concord.runs.intervals import wilson

LONGEST = 400  # characters of one configured value
CLASSES = 20  # rows of the tables with a row per class
LEGEND = (
    "95 %: Wilson interval of the test error, for the choice of the test images. NLL: negative "
    "log-likelihood. ECE: expected calibration error. MACs: multiply-accumulates per image."
)


def members_table(runs: Sequence[RunView]) -> Table:
    """A row per member and one for the ensemble. Errors come first: a telephone shows no more columns."""
    names: list[tuple[str, ...]] = []
    sizes: list[tuple[str, ...]] = []
    scores: list[Mapping[str, Any]] = []
    ranges: list[str] = []
    for run in runs:
        result = run.result.get("members", {})
        for member in run.members:
            names.append((run.name, member.name))
            sizes.append((whole(member.parameters), whole(member.macs), member.network))
            scores.append(result.get(member.name, {}))
        if len(run.members) > 1:
            totals = (_total([m.parameters for m in run.members]), _total([m.macs for m in run.members]))
            names.append((run.name, ENSEMBLE))
            sizes.append((*map(whole, totals), "mean of logits"))
            scores.append(run.result.get("ensemble", {}))
        ranges += [_interval(s.get("test_error"), run.samples) for s in scores[len(ranges) :]]
    columns, measured = _measured(scores, ranges)
    first = 0 if len(runs) > 1 else 1  # one run needs no column that repeats its name
    header = ("run", "member", *columns, "parameters", "MACs", "network")
    rows = tuple(
        (*entries(*name[first:]), *score, *entries(*size))
        for name, size, *score in zip(names, sizes, *measured, strict=True)
    )
    notes = (LEGEND, *map(_note, runs))
    return Table("Members and ensemble", header[first:], rows, names=2 - first, notes=notes)


def _measured(
    scores: Sequence[Mapping[str, Any]], ranges: Sequence[str]
) -> tuple[tuple[str, ...], tuple[list[Entry], ...]]:
    """Headers and columns: the figures of classifiers; of other tasks whatever numbers they have."""
    figures = dict.fromkeys(k for row in scores for k, v in row.items() if isinstance(v, int | float))
    if figures and not any("test_error" in row for row in scores):
        columns = [[Entry(decimal(row.get(key))) for row in scores] for key in figures]
        return tuple(figures), tuple(columns)
    return ("test error %", "95 %", "valid error %", "NLL", "ECE"), (
        scored([score.get("test_error") for score in scores], percent),
        [Entry(text) for text in ranges],
        scored([score.get("valid_error") for score in scores], percent),
        scored([score.get("nll") for score in scores], decimal),
        scored([score.get("ece") for score in scores], decimal),
    )


def _interval(error: float | None, samples: int | None) -> str:
    if error is None or not samples or not math.isfinite(error):
        return MISSING
    low, high = wilson(round(error * samples), samples)
    return f"{percent(low)} to {percent(high)}"


def classes_table(data: DataView) -> Table:
    """How many images of every class each part has; of many classes those with the fewest to train on."""
    order: Sequence[int] = range(len(data.classes))
    notes = []
    if len(data.classes) > CLASSES:
        train = data.counts["train"]
        order = sorted(order, key=lambda k: train[k])[:CLASSES]
        notes.append(f"The {CLASSES} of {len(data.classes)} classes with the fewest training images.")
    for part, counts in data.counts.items():
        missing = [name for name, n in zip(data.classes, counts, strict=True) if not n]
        if missing and sum(counts):
            named = ", ".join(missing[:CLASSES])
            notes.append(f"Classes without an image in the {part} part: {named}. No score there knows them.")
    rows = [entries(data.classes[k], *(whole(counts[k]) for counts in data.counts.values())) for k in order]
    rows.append(entries("all classes", *(whole(sum(counts)) for counts in data.counts.values())))
    return Table("Images of each class", ("class", *data.counts), tuple(rows), notes=tuple(notes))


def _total(numbers: Sequence[int | None]) -> int | None:
    known = [n for n in numbers if n is not None]
    return sum(known) if len(known) == len(numbers) else None


def _note(run: RunView) -> str:
    parts = []
    if (share := run.result.get("agreement")) is not None and len(run.members) > 1:
        parts.append(f"all members agree on {percent(share)} % of the test samples")
    if (seconds := run.result.get("seconds")) is not None:
        parts.append(f"trained in {seconds:,.0f} s")
    if (rate := run.result.get("samples_per_second")) is not None:
        parts.append(f"{rate:,.0f} samples per second")
    return f"{run.name}: {', '.join(parts) or 'nothing more was recorded'}."


def pairs_table(runs: Sequence[RunView]) -> Table:
    """Disagreement and error correlation of every pair of members on the test set."""
    rows, notes = [], []
    for run in runs:
        apart, correlated = run.result.get("disagreement"), run.result.get("error_correlation")
        if apart is None or len(run.members) < 2:
            continue
        for (i, a), (j, b) in itertools.combinations(enumerate(run.members), 2):
            r = correlated[i][j] if correlated else None  # runs of older versions have none
            rows.append(entries(run.name, f"{a.name}, {b.name}", percent(apart[i][j]), decimal(r, 2)))
        notes.append(f"{run.name}: all members agree on {percent(run.result['agreement'])} % of the samples.")
    header = ("run", "members", "disagreement %", "error correlation")
    return Table("How differently the members decide", header, tuple(rows), names=2, notes=tuple(notes))


def recall_table(
    names: Sequence[str], classes: Sequence[str], samples: Sequence[int], recall: Sequence[Sequence[float]]
) -> Table:
    """A row per class, a column per name, and the means; of many classes those that the last knows least.

        recall = share of the samples of a class that are named rightly
        balanced accuracy = mean recall of the classes that have samples

    Shape: samples (K,), recall (len(names), K)
    """
    there = [k for k, n in enumerate(samples) if n]
    shown = there if len(there) <= CLASSES else sorted(there, key=lambda k: recall[-1][k])[:CLASSES]
    means = [sum(column[k] for k in there) / len(there) for column in recall]
    rows = [
        *(entries(classes[k], whole(samples[k]), *(percent(r[k]) for r in recall)) for k in shown),
        entries("balanced accuracy", whole(sum(samples)), *map(percent, means)),
    ]
    notes = []
    if len(shown) < len(there):
        notes.append(f"The {len(shown)} of {len(there)} classes with the lowest recall.")
    if len(there) < len(classes):
        notes.append(f"{len(classes) - len(there)} of {len(classes)} classes have no test samples.")
    return Table("Recall in %", ("class", "test samples", *names), tuple(rows), notes=tuple(notes))


def mistakes_table(captions: Sequence[tuple[str, str, float, str]]) -> Table:
    """The worst mistakes where there are no pictures: (true class, predicted class, confidence, sample)."""
    rows = [
        entries(name, true, predicted, percent(confidence)) for true, predicted, confidence, name in captions
    ]
    header = ("sample", "class", "predicted class", "confidence in %")
    return Table(
        "Wrong predictions of the ensemble with the highest confidence", header, tuple(rows), names=3
    )


def settings_table(caption: str, runs: Mapping[str, Mapping[str, Any]]) -> Table:
    """Nested mappings as one line per value, ``optimizer.learning_rate`` and so on, with a column per run."""
    flat = [dict(_flat(settings)) for settings in runs.values()]
    keys = dict.fromkeys(key for settings in flat for key in settings)
    rows = tuple(entries(key, *(settings.get(key, MISSING) for settings in flat)) for key in keys)
    header = ("key", *runs) if len(runs) > 1 else ("key", "value")
    return Table(caption, header, rows, names=len(header))


def _flat(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for key, value in settings.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{prefix}{key}.")
        else:
            text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
            yield f"{prefix}{key}", text if len(text) <= LONGEST else text[:LONGEST] + "…"

"""The tables of single runs: costs and scores of the members, how they differ, what was configured."""

import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from concord.report.records import ENSEMBLE, RunView
from concord.report.tables import Table, entries, scored
from concord.report.text import MISSING, decimal, percent, whole

LONGEST = 400  # characters of one configured value
CLASSES = 20  # rows of the table of recalls


def members_table(runs: Sequence[RunView]) -> Table:
    """A row per member and one for the ensemble: parameters, MACs, errors, NLL and calibration error."""
    names: list[tuple[str, ...]] = []
    scores: list[Mapping[str, float | None]] = []
    for run in runs:
        told = run.result.get("members", {})
        for member in run.members:
            costs = (whole(member.parameters), whole(member.macs))
            names.append((run.name, member.name, member.network, *costs))
            scores.append(told.get(member.name, {}))
        if len(run.members) > 1:
            totals = (_total([m.parameters for m in run.members]), _total([m.macs for m in run.members]))
            names.append((run.name, ENSEMBLE, "mean of logits", *map(whole, totals)))
            scores.append(run.result.get("ensemble", {}))
    measured = (
        scored([score.get("test_error") for score in scores], percent),
        scored([score.get("valid_error") for score in scores], percent),
        scored([score.get("nll") for score in scores], decimal),
        scored([score.get("ece") for score in scores], decimal),
    )
    first = 0 if len(runs) > 1 else 1  # one run needs no column that repeats its name
    header = ("run", "member", "network", "parameters", "MACs", "test error %", "valid error %", "NLL", "ECE")
    rows = tuple((*entries(*name[first:]), *score) for name, *score in zip(names, *measured, strict=True))
    return Table("Members and ensemble", header[first:], rows, names=3 - first, notes=tuple(map(_note, runs)))


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
    rows = [entries(name, true, said, percent(confidence)) for true, said, confidence, name in captions]
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

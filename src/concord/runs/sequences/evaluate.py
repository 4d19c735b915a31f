"""Scores of a run on sequences, on its own test part or on other data."""

from collections.abc import Collection
from pathlib import Path
from typing import Any

from concord.data.dataset import Dataset
from concord.data.sequences.load import Parts
from concord.errors import amount
from concord.runs import machine
from concord.runs.evaluate import SPENT, Evaluation, recall_of, spent
from concord.runs.result import Result
from concord.runs.scored import at, scored_part
from concord.runs.sequences.figures import Where, costs, document_of, longest
from concord.runs.sequences.loading import LoadedSequences, load_run
from concord.runs.sequences.result import SequenceResult
from concord.runs.sequences.run import load_again
from concord.runs.watching import Stop, never
from concord.tasks.classify import Classify
from concord.training.evaluate import Evaluated
from concord.training.final import Final
from concord.training.observer import SILENT, Observer


def evaluate(
    run: Path,
    *,
    data: str | None = None,
    allow_code: Collection[str] = (),
    strict: bool = False,
    observer: Observer = SILENT,
    stop: Stop = never,
) -> Evaluation | SequenceResult:
    """Scores of a run on its test part, or on that of other data with the same characters and classes.

    Other data without a test part are scored whole.
    """
    loaded = load_run(run, allow_code=allow_code, strict=strict, observer=observer)
    with machine.settled(loaded.config):
        parts = parts_of(loaded, data)
        test = tested(parts, whole=data is not None)
        if data is not None:
            observer.notice(f"{data}: {amount(len(test), 'sample')} are scored")
        found = scored(loaded, test, stop)
        valid = None if parts.valid is None or data is not None else scored(loaded, parts.valid, stop)
    done = _figures(loaded, found, valid)
    prices = costs(loaded.members, loaded.interface, longest(parts.train))
    where = Where(str(run), test.fingerprint, longest(parts.train))
    result = document_of(done, prices, where, ())
    if isinstance(result, Result):
        return _with_recall(loaded, found, result, len(test))
    assert isinstance(result, SequenceResult)
    return result


def _figures(loaded: LoadedSequences, found: Evaluated, valid: Evaluated | None) -> Final[Any]:
    task, names = loaded.task, list(loaded.members)
    rows = loaded.folder.rows(SPENT)
    seconds, samples = spent(rows)
    return Final(
        task.scores(found.tally, names),
        None if valid is None else task.scores(valid.tally, names),
        {},
        None,
        seconds,
        samples / seconds if seconds else 0.0,
        len(rows),
        loaded.found.path.name,
    )


def _with_recall(loaded: LoadedSequences, found: Evaluated, result: Result, samples: int) -> Evaluation:
    """The figures of a classifier as ``concord eval`` shows them."""
    task, names = loaded.task, list(loaded.members)
    assert isinstance(task, Classify)
    of_class, right = task.by_class(found.tally, len(names))
    return Evaluation(
        result.members,
        result.ensemble,
        result.diversity,
        recall_of(of_class, right, loaded.interface.known.classes, names),
        result.run,
        samples,
        result.seconds,
        result.samples_per_second,
        result.checkpoint,
        result.fingerprint,
    )


def parts_of(loaded: LoadedSequences, data: str | None) -> Parts:
    """The data of the run, or others at ``data``."""
    return load_again(at(loaded.config, data), loaded.interface, "--data PATH")


def tested(parts: Parts, *, whole: bool) -> Dataset:
    """The test part; of data without one the training part, of the run's own the validation part first."""
    if parts.test is not None:
        return parts.test
    return parts.train if whole or parts.valid is None else parts.valid


def scored(loaded: LoadedSequences, part: Dataset, stop: Stop = never, *, keep: bool = False) -> Evaluated:
    """Tally of all members on a part; StoppedError when ``stop`` says so."""
    return scored_part(loaded.members, part, loaded.task, stop, keep=keep)

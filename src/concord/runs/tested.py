"""Predictions for a test set: those that a finished run kept, or the members are asked again."""

from collections.abc import Mapping

import torch
from torch import Tensor

from concord.data.splits import Splits
from concord.errors import CheckpointError, DivergedError, StoppedError
from concord.runs import predictions
from concord.runs.feeds import make_feed
from concord.runs.loading import Loaded
from concord.runs.watching import Stop, never
from concord.tasks.classify import Classify
from concord.training.evaluate import InterruptedEvaluation, Samples, evaluate
from concord.training.observer import SILENT, Observer

Logits = Mapping[str, Tensor]  # (N, K) of each member


def logits_on_test(
    loaded: Loaded, splits: Splits, *, same: bool, observer: Observer = SILENT, stop: Stop = never
) -> Logits:
    """Logits of every member for the test set, in float32 on the CPU.

    ``same``: it is the test set of the training, for which a complete run has kept them. Damaged ones are
    reported, and made again. StoppedError when ``stop`` says so.
    """
    kept = _kept(loaded, splits, observer) if same else None
    if kept is not None:
        return kept
    feed = make_feed(loaded.config, splits, loaded.interface)
    return logits_of(loaded, feed.test(), stop)


def logits_of(loaded: Loaded, samples: Samples, stop: Stop = never) -> Logits:
    """Logits of every member for samples, computed now."""
    task = Classify(len(loaded.interface.classes))
    try:
        found = evaluate(loaded.members, samples, task, keep=True, stop=stop)
    except InterruptedEvaluation:
        raise StoppedError("stopped while predicting; nothing was changed") from None
    logits = {name: found.predictions[name]["logits"] for name in loaded.members}
    bad = [name for name, rows in logits.items() if not rows.isfinite().all()]
    if bad:
        raise DivergedError(f"{loaded.folder.path}: {', '.join(bad)} does not give finite numbers", bad)
    return logits


def _kept(loaded: Loaded, splits: Splits, observer: Observer) -> Logits | None:
    if loaded.result is None:
        return None
    try:
        found = predictions.read(loaded.folder)
    except CheckpointError as error:
        observer.notice(f"{error}; the predictions are made again")
        return None
    labels = splits.test.labels.cpu()
    names = list(loaded.members)
    if found is None or not torch.equal(found.labels, labels) or not set(names) <= set(found.logits):
        return None
    return {name: found.logits[name] for name in names}

"""What a finished run amounts to, and the way back to its weights."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from concord.errors import CheckpointError, StoppedError
from concord.runs.changes import differences, refuse
from concord.runs.folder import RunFolder
from concord.training import checkpoint, evaluate
from concord.training.job import Job
from concord.training.state import unpack_members


@dataclass(frozen=True)
class Final:
    """Scores of the checkpoint that the run stands for, and what the training took."""

    test: Mapping[str, Any]
    valid: Mapping[str, Any] | None
    seconds: float
    samples_per_second: float
    epochs: int
    checkpoint: str


def final_scores(job: Job) -> Final:
    """Scores of the last epoch; with early stopping, of the epoch with the lowest validation error."""
    rows = job.folder.rows()
    seconds = sum(row["seconds"] for row in rows)
    rate = sum(row["seconds"] * row["samples_per_second"] for row in rows) / seconds
    last = checkpoint.steps(job.folder.checkpoints)[-1]
    chosen, row = last.name, rows[-1]
    if job.config.train.patience is None:
        if "error_correlation" in row["test"]:  # a row by an older version lacks scores
            return Final(row["test"], row["valid"], seconds, rate, len(rows), chosen)
    else:
        chosen = checkpoint.load(last).state["position"]["best_step"]
    load_members(job.members, job.folder.checkpoints / chosen)
    valid = _scores(job, job.feed.valid()) if job.feed.has_valid else None
    return Final(_scores(job, job.feed.test()), valid, seconds, rate, len(rows), chosen)


def _scores(job: Job, samples: evaluate.Samples) -> dict[str, Any]:
    try:
        tally = evaluate.tally(list(job.members.values()), samples, job.task, job.precision, job.stop)
    except evaluate.InterruptedEvaluation:
        raise StoppedError(f"stopped before the last scores: {job.folder.resume} makes them") from None
    return job.task.scores(tally, list(job.members))


def load_members(members: Mapping[str, nn.Module], path: Path) -> None:
    """Weights of a verified checkpoint into members; CheckpointError if it lacks one of them."""
    unpack_members(members, checkpoint.load(path))


def finished(
    folder: RunFolder, warn: Callable[[str], None] = lambda text: None, strict: bool = False
) -> bool:
    """Whether a run is complete and what it stands for sound; CheckpointError if its settings changed.

    Where that checkpoint is damaged, ``warn`` hears of it and the result is dropped, so that a resume makes
    both anew from an earlier one; with ``strict``, or without an earlier one, that is a CheckpointError.
    """
    if not folder.complete:
        return False
    try:
        found = checkpoint.load(standing(folder))
    except CheckpointError as error:
        if strict or checkpoint.newest(folder.checkpoints)[0] is None:
            raise
        warn(f"{error}; its result is made anew")
        (folder.path / "result.json").unlink()
        return False
    refuse(found.path, differences(folder, found, folder.config(), found.state["fingerprint"]))
    return True


def standing(
    folder: RunFolder, warn: Callable[[str], None] = lambda text: None, strict: bool = False
) -> Path:
    """The checkpoint that a run stands for: that of its result, or the newest sound one so far.

    ``warn`` hears of every newer one that is damaged; with ``strict`` that is a CheckpointError.
    """
    if folder.complete:
        return folder.checkpoints / str(folder.json("result.json", ["checkpoint"])["checkpoint"])
    found, faults = checkpoint.newest(folder.checkpoints, strict)
    for fault in faults:
        warn(f"{fault}; an earlier checkpoint is used")
    if found is None:
        raise CheckpointError(f"{folder.path} has no checkpoint yet; {folder.resume} goes on")
    return found.path

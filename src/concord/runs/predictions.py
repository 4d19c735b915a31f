"""What every member predicts for the test set, kept in RUN/predictions.safetensors under a manifest.

    members/NAME/logits   (N, K) float32
    labels                (N,) int64

A task of the user's own keeps what it likes of the outputs, ``members/NAME/KEY`` (N, ...), and beside them
``targets`` (N, ...) where a target is one tensor.

Whatever is said later about the test set is made from it: scores, votes, confusions. Two runs that differ by
their seed alone can be compared sample by sample (churn). Runs of older versions kept votes.safetensors.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from safetensors.torch import save as tensor_bytes
from torch import Tensor

from concord.consensus.names import ENSEMBLE
from concord.consensus.objective import ensemble_logits
from concord.errors import CheckpointError
from concord.files import manifest
from concord.files.tensors import parse_tensors
from concord.runs import seal
from concord.runs.folder import RunFolder
from concord.tasks.classify import ClassScores
from concord.training.final import Final

FILE = "predictions.safetensors"
VOTES = "votes.safetensors"


@dataclass(frozen=True, eq=False)
class Predictions:
    """Logits of every member and the labels of the test set. Shape: (N, K) of each member, (N,)"""

    logits: Mapping[str, Tensor]
    labels: Tensor

    def votes(self) -> dict[str, Tensor]:
        """The class that each member and the ensemble name. Shape: (N,) int32 of each"""
        rows = {**self.logits, ENSEMBLE: ensemble_logits(list(self.logits.values()))}
        return {name: row.argmax(-1).to(torch.int32) for name, row in rows.items()}


def content_of(members: Mapping[str, Mapping[str, Tensor]], truth: Mapping[str, Tensor]) -> bytes:
    """The file: what the task kept of every member, and beside it the ``labels`` or ``targets``."""
    tensors = {
        f"members/{name}/{key}": value.contiguous()
        for name, kept in members.items()
        for key, value in kept.items()
    }
    return tensor_bytes({**tensors, **{key: value.contiguous() for key, value in truth.items()}})


def truth(done: Final[Any]) -> dict[str, Tensor]:
    """Labels of a classifier, (N,); of shares of classes the largest. Of other tasks the targets."""
    if done.targets is None:
        return {}
    if not isinstance(done.test, ClassScores):
        return {"targets": done.targets}
    return {"labels": done.targets if done.targets.ndim == 1 else done.targets.argmax(-1)}


def read(folder: RunFolder) -> Predictions | None:
    """The predictions of a finished classifier; None if it kept none.

    CheckpointError if they are damaged, or the run had some when it ended.
    """
    file = folder.path / FILE
    if not file.is_file():
        if FILE in seal.entries_of(folder.path):
            raise CheckpointError(
                f"{file} is missing: remove result.json from the folder, then {folder.resume} writes both"
                " files again"
            )
        return None
    tensors = parse_tensors(file, manifest.verified(folder.path, FILE))
    labels = tensors.get("labels")
    if labels is None:
        return None  # of a task of the user's own
    logits = {name.split("/")[1]: value for name, value in tensors.items() if name.endswith("/logits")}
    if not _fit(list(logits.values()), labels):
        raise CheckpointError(f"{file}: damaged, labels and logits are not those of one test set")
    return Predictions(logits, labels)


def steps_of(folder: RunFolder) -> tuple[dict[str, Tensor], Tensor] | None:
    """Labels (N, T) that each member gave to every step, and the true ones; None if a run kept none.

    CheckpointError if they are damaged.
    """
    file = folder.path / FILE
    if not file.is_file():
        return None
    tensors = parse_tensors(file, manifest.verified(folder.path, FILE))
    targets = tensors.get("targets")
    labels = {name.split("/")[1]: rows for name, rows in tensors.items() if name.endswith("/labels")}
    if targets is None or not labels:
        return None
    alike = all(rows.shape == targets.shape and rows.dtype == torch.int64 for rows in labels.values())
    if not alike or targets.ndim != 2 or not targets.numel() or int(targets.min()) < -1:
        raise CheckpointError(f"{file}: damaged, labels and targets are not those of one test set")
    if any(int(rows.min()) < -1 for rows in labels.values()):
        raise CheckpointError(f"{file}: damaged, a label is below 0")
    return labels, targets


def films_of(folder: RunFolder) -> tuple[dict[str, Tensor], Tensor] | None:
    """Frames (N, T, C, H, W) uint8 that each member predicted for the first films, and the true ones.

    None if a run kept none; CheckpointError if they are damaged.
    """
    file = folder.path / FILE
    if not file.is_file():
        return None
    tensors = parse_tensors(file, manifest.verified(folder.path, FILE))
    frames = {name.split("/")[1]: film for name, film in tensors.items() if name.endswith("/frames")}
    targets = tensors.get("targets")
    if not frames or targets is None:
        return None
    alike = all(film.shape == targets.shape and film.dtype == torch.uint8 for film in frames.values())
    if not alike or targets.ndim != 5 or not targets.numel() or not targets.is_floating_point():
        raise CheckpointError(f"{file}: damaged, frames and targets are not those of one test set")
    return frames, (255 * targets.nan_to_num().clamp(0, 1)).round().to(torch.uint8)


def _fit(logits: Sequence[Tensor], labels: Tensor) -> bool:
    """Whether these are (N, K) numbers of every member and (N,) classes of as many samples."""
    if not logits or logits[0].ndim != 2 or labels.ndim != 1:
        return False
    if labels.is_floating_point() or labels.is_complex() or labels.dtype == torch.bool:
        return False
    samples, classes = logits[0].shape
    same = all(rows.shape == logits[0].shape and rows.is_floating_point() for rows in logits)
    known = bool(((labels >= 0) & (labels < classes)).all())
    return same and 0 < samples == len(labels) and known


def votes(folder: RunFolder) -> dict[str, Tensor]:
    """The votes of a run; none if it kept none. CheckpointError if the file is damaged or cannot be read."""
    found = read(folder)
    if found is not None:
        return found.votes()
    file = folder.path / VOTES
    if not file.is_file():
        return {}
    try:
        content = file.read_bytes()
    except OSError as error:
        raise CheckpointError(f"{file}: cannot be read ({error.strerror})") from None
    return parse_tensors(file, content)

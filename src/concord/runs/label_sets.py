"""Sets of labels for pictures, and temperatures, by what a run keeps of its validation part."""

import hashlib
from dataclasses import dataclass
from math import inf

import torch
from torch import Tensor

from concord.errors import UsageError
from concord.runs.loading import Loaded
from concord.runs.uncertainty import Sureness, Uncertainty, uncertainty_of
from concord.training.observer import Observer
from concord.uncertainty.conformal import label_sets, required


@dataclass(frozen=True)
class Limit:
    """A method and the largest score that is in the set; infinite where every set has all labels."""

    method: str
    most: float

    def labels(self, pixels: Tensor, p: Tensor) -> list[int]:
        """Numbers of the classes in the set, likeliest first.

        What the method draws is a hash of the pixels: the same picture has the same set.
        Shape: (C, H, W) uint8, (K,)
        """
        digest = hashlib.sha256(pixels.contiguous().numpy().data).digest()
        u = torch.tensor([(int.from_bytes(digest[:8], "little") >> 11) * 2.0**-53], dtype=torch.float64)
        inside = label_sets(self.method, p.double()[None], u, self.most)[0]
        return [k for k in p.argsort(descending=True, stable=True).tolist() if inside[k]]


def kept(loaded: Loaded, member: str) -> tuple[Uncertainty, Sureness]:
    """What the run keeps of its validation part, and of it a member's; UsageError if it keeps nothing."""
    path = loaded.folder.path
    if loaded.result is None:
        raise UsageError(
            f"{path} is not finished, and temperatures and thresholds are found at the end of a run:"
            f" {loaded.folder.resume} continues it"
        )
    found = uncertainty_of(loaded.folder, loaded.result)
    if found is None:
        raise UsageError(
            f"{path} keeps neither temperatures nor thresholds: it was trained without a validation part, or"
            " by an older version. Train with data.valid above 0"
        )
    return found, found.of(member)


def limit_of(loaded: Loaded, member: str, method: str, observer: Observer) -> Limit:
    """The threshold of a member for a method; a notice where the validation part was too small for it."""
    required(method)
    whole, own = kept(loaded, member)
    most = own.sets[method].threshold
    if most is None:
        observer.notice(
            f"{loaded.folder.path} has {whole.samples} validation images, too few for a coverage of"
            f" {whole.coverage:g}: every set has all labels"
        )
    return Limit(method, inf if most is None else most)


def required_temperature(loaded: Loaded, member: str) -> float:
    """That of a member or of the ensemble; UsageError where the run keeps none."""
    _, own = kept(loaded, member)
    if own.temperature is None:
        raise UsageError(
            f"{loaded.folder.path} has no temperature for {member}: none is the best one on its validation"
            " part, for example because every image there is labelled rightly. Export without calibration, or"
            " train with a larger data.valid"
        )
    return own.temperature

"""How well members of a run separate their own test images from those of other data of any classes."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from concord.consensus.names import ENSEMBLE
from concord.consensus.objective import ensemble_logits
from concord.data.images.colour import as_channels
from concord.data.images.images import Images, joined
from concord.data.images.resize import resize
from concord.data.load import UnusableError
from concord.errors import DataError, DivergedError, StoppedError, UsageError
from concord.runs.assemble import load_data
from concord.runs.loading import Loaded
from concord.runs.watching import Stop, never, reading
from concord.training.evaluate import outputs
from concord.training.observer import SILENT, Observer
from concord.uncertainty.familiar import (
    MUTUAL_INFORMATION,
    SCORES,
    Separation,
    negative_mutual_information,
    separation,
)

AT_ONCE = 500
Logits = Mapping[str, Tensor]  # (N, K) of each member
Separations = Mapping[str, Separation]  # score -> figures


@dataclass(frozen=True)
class Against:
    """Figures of other data: own test images are positive, ``samples`` are the other images."""

    data: str
    samples: int
    members: Mapping[str, Separations]
    ensemble: Separations

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def against(loaded: Loaded, own: Logits, source: str, images: Images, stop: Stop = never) -> Against:
    """The scores of every member and of the ensemble, on the ``images`` of a source of other data.

    ``own`` are the logits for the test images of the run.
    """
    other = _logits(loaded, images, stop)
    members = {name: _separations([own[name]], [other[name]]) for name in loaded.members}
    together = _separations(list(own.values()), [other[name] for name in own])
    return Against(source, len(images), members, together)


def _separations(own: Sequence[Tensor], other: Sequence[Tensor]) -> dict[str, Separation]:
    """Of one member, or of several as an ensemble by the mean of logits."""
    ours, theirs = (ensemble_logits(list(rows)).double() for rows in (own, other))
    found = {name: separation(score(ours), score(theirs)) for name, score in SCORES.items()}
    if len(own) > 1:
        apart = (negative_mutual_information([z.double() for z in rows]) for rows in (own, other))
        found[MUTUAL_INFORMATION] = separation(*apart)
    return found


def other_images(
    loaded: Loaded, test: Images, source: str, observer: Observer = SILENT, stop: Stop = never
) -> Images:
    """The test part of other data, or all of them; UsageError where they have the test images of the run.

    Their size and colour become those of the run when they are predicted.
    """
    _, height, width = loaded.interface.shape
    data = loaded.config.data.model_copy(
        update={"source": source, "size": max(height, width), "limit": None, "joint": False}
    )
    try:
        splits = load_data(
            loaded.config.model_copy(update={"data": data, "unlabelled": None}), reading(observer, stop)
        )
    except UnusableError as error:
        raise DataError(error.elsewhere) from None
    if splits.test.fingerprint == test.fingerprint:
        raise UsageError(f"{source} has the very test images of {loaded.folder.path}: name other data")
    return splits.test if splits.own_test else joined(joined(splits.train, splits.valid), splits.test)


def _logits(loaded: Loaded, images: Images, stop: Stop) -> dict[str, Tensor]:
    """Logits of every member, in float32 on the CPU; DivergedError where they are not numbers."""
    channels, height, width = loaded.interface.shape
    parts: dict[str, list[Tensor]] = {name: [] for name in loaded.members}
    for piece in images.pieces():
        for pixels in piece.split(AT_ONCE):
            if stop():
                raise StoppedError("stopped while predicting; nothing was changed")
            fitted = resize(as_channels(pixels, channels).contiguous(), (height, width))
            x = loaded.interface.normalise(fitted.to(loaded.config.train.device))
            found = outputs(loaded.members, x.contiguous(memory_format=torch.channels_last))
            for rows, logits in zip(parts.values(), found, strict=True):
                rows.append(logits.cpu())
    whole = {name: torch.cat(rows) for name, rows in parts.items()}
    bad = [name for name, rows in whole.items() if not rows.isfinite().all()]
    if bad:
        raise DivergedError(f"{loaded.folder.path}: {', '.join(bad)} does not give finite numbers", bad)
    return whole


def of(found: Against) -> dict[str, Separations]:
    """Members, and the ensemble where there are several."""
    return {**found.members, ENSEMBLE: found.ensemble} if len(found.members) > 1 else dict(found.members)

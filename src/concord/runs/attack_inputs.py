"""What an attack needs of runs: their networks, and test images that fit all of them."""

from collections.abc import Collection, Sequence
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from concord.attack.gradient import Classifier
from concord.consensus.names import ENSEMBLE
from concord.consensus.objective import ensemble_logits
from concord.data.images.images import Images
from concord.data.splits import cut
from concord.errors import ConcordError, UsageError
from concord.runs.folder import RunFolder
from concord.runs.loading import Loaded, load_run, other_data, same_data
from concord.runs.pixels import classifier
from concord.training.foreign import blamed
from concord.training.observer import SILENT, Observer


def load_all(runs: Sequence[Path], allow_code: Collection[str], observer: Observer = SILENT) -> list[Loaded]:
    """The runs, on the device of the first; UsageError if they take other images or classes."""
    first = load_run(runs[0], allow_code=allow_code, observer=observer)
    device = first.config.train.device
    found = [
        first,
        *(load_run(run, allow_code=allow_code, device=device, observer=observer) for run in runs[1:]),
    ]
    for run, other in zip(runs[1:], found[1:], strict=True):
        for what in ("shape", "classes"):
            ours, theirs = getattr(first.interface, what), getattr(other.interface, what)
            if ours != theirs:
                raise UsageError(
                    f"runs that are attacked together need the same {what} of images;"
                    f" {runs[0]} has {_listed(ours)}, {run} has {_listed(theirs)}"
                )
    return found


def _listed(values: Sequence[object]) -> str:
    return ", ".join(map(str, values))


def _heads(runs: Sequence[Path]) -> list[str]:
    """What stands before the names of the members of each run: RUN: where there are several runs."""
    if len(runs) == 1:
        return [""]
    names = [run.resolve().name for run in runs]
    return [f"{name if names.count(name) == 1 else run}:" for run, name in zip(runs, names, strict=True)]


def names_of(runs: Sequence[Path]) -> list[str]:
    """The names of ``networks_of``, by the configurations alone."""
    found = []
    for head, run in zip(_heads(runs), runs, strict=True):
        members = [member.name for member in RunFolder(run).config().members]
        found += [f"{head}{name}" for name in (*members, *[ENSEMBLE] * (len(members) > 1))]
    return found


def networks_of(runs: Sequence[Path], loaded: Sequence[Loaded]) -> dict[str, Classifier]:
    """Members and the ensemble of every run, in float32; RUN:MEMBER where there are several runs."""
    found = {}
    for head, run in zip(_heads(runs), loaded, strict=True):
        members = [partial(_output, f"{head}{name}", member.eval()) for name, member in run.members.items()]
        for name, member in zip(run.members, members, strict=True):
            found[f"{head}{name}"] = classifier(member, run.interface.normalise)
        if len(members) > 1:
            found[f"{head}{ENSEMBLE}"] = classifier(partial(_together, members), run.interface.normalise)
    return found


def _output(name: str, member: nn.Module, x: Tensor) -> Tensor:
    """What a member gives; an attack asks for it with gradients, which evaluation does not."""
    with blamed(name, member, "under attack"):
        output: Tensor = member(x)
    return output


def _together(members: Sequence[Classifier], x: Tensor) -> Tensor:
    return ensemble_logits([member(x.clone()) for member in members])  # a member may change it in place


def images_of(
    loaded: Sequence[Loaded],
    data: str | None,
    limit: int | None,
    wanted: int | None,
    observer: Observer = SILENT,
) -> tuple[Images, bool]:
    """The test split of the first run, and whether it is of the data of that run's training.

    With ``limit`` so many images of it, in the proportions of the classes. Images of the wanted class are
    left out: there is nothing to reach. Says so where another run has other test images, and so may have
    been trained on these.
    """
    splits, same = same_data(loaded[0], data, observer)
    if not same:
        observer.notice(other_data(loaded[0], data, splits))
    for other in loaded[1:]:
        if not (other.trained_on(splits) or _tested_on(other, splits.test)):
            observer.notice(
                f"{other.folder.path} was trained on another split: it may have seen these images"
            )
    images = splits.test
    if wanted is not None:
        images = images.subset(torch.nonzero(images.labels != wanted).flatten())
    if limit is not None and limit < len(images):
        images = images.subset(cut(images, limit, "attack")[1])
    if not len(images):
        raise UsageError("there are no test images to attack")
    return images.to(loaded[0].config.train.device), same


def _tested_on(run: Loaded, test: Images) -> bool:
    """Whether these are the run's own test images, whatever it was trained on."""
    try:
        theirs, same = same_data(run, None)
    except ConcordError:  # the data are gone, so nobody knows
        return False
    return same and theirs.test.fingerprint == test.fingerprint

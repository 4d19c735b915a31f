"""From a folder or file to training, validation and test images with boxes."""

from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256

import torch
from torch import Tensor

from concord.data import draws
from concord.data.detection.boxed import BoxedImages
from concord.data.detection.layout import found
from concord.data.detection.place import MULTIPLE, Size, canvas_of
from concord.data.detection.read import Listing, Sample, counts, has_objects, listing, refused
from concord.data.images.decode import LARGEST
from concord.data.images.parts import CALLED
from concord.errors import DataError, UsageError, amount
from concord.files.paths import expanded
from concord.files.text import printable

SIDE = 416  # pixels of the longest side where nothing else is asked for


@dataclass(frozen=True)
class Wanted:
    """What is asked of a source, as in the tables of a settings file."""

    source: str
    size: int = SIDE  # pixels of the longest side, a multiple of ``multiple``
    valid: float = 0.1
    test: float = 0.2
    seed: int = 0
    limit: int | None = None  # most images to train on
    multiple: int = MULTIPLE
    classes: tuple[str, ...] | None = None  # default: as a file lists them, else the labels by alphabet
    canvas: Size | None = None  # height and width of an earlier training; default: from size and images
    largest_image: float = LARGEST  # megapixels

    def __post_init__(self) -> None:
        for name, share in (("valid", self.valid), ("test", self.test)):
            if not 0 <= share < 1:
                raise UsageError(f"data.{name} is a fraction from 0 to below 1, got {share}")
        if self.limit is not None and self.limit < 1:
            raise UsageError(f"data.limit must be 1 or more, got {self.limit}")


@dataclass(frozen=True, eq=False)
class Parts:
    """``valid`` and ``test`` are None where nothing was cut off. ``own_test``: the source has one itself."""

    train: BoxedImages
    valid: BoxedImages | None
    test: BoxedImages | None
    format: str  # VOC, YOLO or COCO
    notices: tuple[str, ...] = ()
    own_test: bool = False

    @property
    def classes(self) -> tuple[str, ...]:
        return self.train.classes

    @property
    def canvas(self) -> Size:
        return self.train.canvas

    @property
    def fingerprint(self) -> str:
        """SHA-256 over those of the three parts."""
        parts = [part.fingerprint if part else "" for part in (self.train, self.valid, self.test)]
        return sha256("|".join(parts).encode()).hexdigest()


def load(wanted: Wanted) -> Parts:
    """The parts of a source in the VOC, YOLO or COCO format, recognised by its files.

    Parts that the source does not have are cut off the training part at random, as a function of the seed.
    Raises DataError that names files and lines; boxes that are left out are in the notices.
    """
    read = listing(expanded(wanted.source), found(wanted.source), wanted.classes, wanted.largest_image)
    if read.faults:
        raise DataError(refused(read.faults, wanted.source))
    return divided(read, wanted)


def divided(read: Listing, wanted: Wanted) -> Parts:
    """The parts of what was read; DataError if too little is left to train on."""
    parts = dict(read.parts)
    own_test = bool(parts.get("test"))
    if not parts.get("train"):
        raise DataError(f"{printable(wanted.source)} has no images to train on")
    for name, share in (("test", wanted.test), ("valid", wanted.valid)):
        if not parts.get(name):
            parts["train"], parts[name] = _cut(parts["train"], share, name, wanted)
    if wanted.limit is not None and wanted.limit < len(parts["train"]):
        parts["train"] = _drawn(parts["train"], wanted.limit, "limit", wanted.seed)[1]
    if not has_objects(parts["train"]):
        raise DataError(
            f"{printable(wanted.source)}: the training images have no boxes that count;"
            " nothing can be learned"
        )
    canvas = wanted.canvas or _canvas(parts, wanted)
    made = {
        name: BoxedImages(samples, read.classes, canvas, None, read.categories, wanted.largest_image)
        for name, samples in parts.items()
        if samples
    }
    notices = (*read.notices, *_shortcomings(parts, read))
    return Parts(made["train"], made.get("valid"), made.get("test"), read.format, notices, own_test)


def require_scorable(parts: Parts, source: str) -> None:
    """DataError for a part to score in which no box counts, before a training ends without figures."""
    for name, part in (("valid", parts.valid), ("test", parts.test)):
        if part is not None and not has_objects(part.samples):
            raise DataError(
                f"{printable(source)}: the {CALLED[name]} images have no boxes that count (crowds and"
                " difficult ones do not), so that they cannot be scored: add boxes, or set another"
                f" data.{name} or data.seed"
            )


def _canvas(parts: dict[str, tuple[Sample, ...]], wanted: Wanted) -> Size:
    sizes = {sample.size for samples in parts.values() for sample in samples}
    return canvas_of(sizes, wanted.size, wanted.multiple)


def _cut(
    samples: tuple[Sample, ...], share: float, name: str, wanted: Wanted
) -> tuple[tuple[Sample, ...], tuple[Sample, ...]]:
    count = round(share * len(samples)) or int(share > 0)
    if count >= len(samples) and share:
        raise DataError(
            f"{printable(wanted.source)} has {amount(len(samples), 'image')}: too few to cut"
            f" data.{name}={share:g} off"
        )
    return _drawn(samples, count, name, wanted.seed)


def _drawn(
    samples: tuple[Sample, ...], count: int, name: str, seed: int
) -> tuple[tuple[Sample, ...], tuple[Sample, ...]]:
    """Those that stay and ``count`` that are taken, each in stored order."""
    order = torch.from_numpy(draws.permutation(len(samples), "boxes", name, seed))
    return _at(samples, order[count:]), _at(samples, order[:count])


def _at(samples: tuple[Sample, ...], numbers: Tensor) -> tuple[Sample, ...]:
    return tuple(samples[i] for i in numbers.sort().values.tolist())


def _shortcomings(parts: dict[str, tuple[Sample, ...]], read: Listing) -> Iterator[str]:
    """What is missing or stands twice in the parts, for the user to know before training."""
    for name, samples in parts.items():
        bare = sum(not len(sample.truth.labels) for sample in samples)
        if bare:
            yield f"{amount(bare, 'image')} without boxes in {name}"
        missing = [label for label, count in counts(samples, read.classes).items() if not count]
        if missing and samples:
            yield f"{name} has no box of {', '.join(repr(printable(label)) for label in missing)}"
    yield from _copies(parts)


def _copies(parts: dict[str, tuple[Sample, ...]]) -> Iterator[str]:
    """A sentence for each part, or pair of parts, that has an image twice, by size and ends of the files."""
    first: dict[int, tuple[str, str]] = {}
    shared: dict[tuple[str, str], list[str]] = {}
    for part in ("train", "valid", "test"):
        for sample in parts.get(part, ()):
            other, name = first.setdefault(sample.mark, (part, sample.name))
            if name != sample.name or other != part:
                shared.setdefault((part, other), []).append(f"{sample.name} = {name}")
    for (part, other), names in shared.items():
        place = f"there twice in {part}" if part == other else f"of {part} in {other} too"
        yield f"{amount(len(names), 'image')} {place}, such as {printable(names[0])}"

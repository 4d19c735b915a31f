"""From a path to training, validation and test images with masks."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from concord.data import draws
from concord.data.images import decode
from concord.data.images.parts import CALLED, listed
from concord.data.normalise import Normalise
from concord.data.segmentation.border import Border, balance
from concord.data.segmentation.choose import held_out
from concord.data.segmentation.crops import Crops
from concord.data.segmentation.notices import class_counts, leaks, shortcomings, small
from concord.data.segmentation.read import Part, Read, read
from concord.data.segmentation.samples import Known, Masks, Weighting
from concord.data.segmentation.survey import Pixels, Watch, pixels
from concord.data.segmentation.table import Code
from concord.errors import DataError, UsageError
from concord.files.text import counted, printable


@dataclass(frozen=True)
class Wanted:
    """What is asked of a source.

    ``valid`` and ``test`` are fractions, or names such as "24-29" (a fraction of a part that the source has
    itself is not cut). ``classes``: name -> value or (r, g, b); the names ignore and void are of what counts
    for nothing. ``limit``: most images to train on. ``border``: weights of training pixels.
    """

    source: str
    crops: Crops = field(default_factory=Crops)
    valid: float | str = 0.1
    test: float | str = 0.2
    seed: int = 0
    limit: int | None = None
    classes: Mapping[str, Code] | None = None
    border: Border | None = None
    largest: float = decode.LARGEST


@dataclass(frozen=True, eq=False)
class Parts:
    """``valid`` and ``test`` are None where nothing was cut off. ``own_test``: the source has one itself."""

    train: Masks
    valid: Masks | None
    test: Masks | None
    known: Known
    fingerprint: str
    notices: tuple[str, ...] = ()
    own_test: bool = False


def load(wanted: Wanted, known: Known | None = None, watch: Watch | None = None) -> Parts:
    """The parts of a source; ``known`` is that of an earlier training.

    Every mask is read and the header of every image. Raises DataError that names files, UsageError for
    options that describe no training, MissingDataError where nothing is.
    """
    found = read(wanted.source, wanted.classes, known.table if known else None, wanted.largest, watch)
    refuse(wanted.source, found)
    three = cut(found, wanted)
    assert found.table is not None
    mode = found.mode if known is None else known.mode
    looked = {name: pixels(part.pairs, part.sizes, mode, wanted.largest) for name, part in three.items()}
    known = known or Known(found.table, mode, Normalise.of_counts(looked["train"].counts))
    marks = {name: _fingerprint(part, looked[name], known) for name, part in three.items()}
    sets = {
        name: Masks(part.pairs, part.sizes, known, marks[name], largest=wanted.largest)
        for name, part in three.items()
    }
    return Parts(
        replace(sets["train"], crops=wanted.crops, weighting=_weighting(three["train"], wanted, known)),
        sets.get("valid"),
        sets.get("test"),
        known,
        hashlib.sha256(repr(sorted(marks.items())).encode()).hexdigest(),
        (
            *found.notices,
            *shortcomings(three, known.table),
            *leaks(three, looked),
            *small(three["train"], wanted.crops.sides),
        ),
        "test" in found.parts,
    )


def whole(source: str, known: Known, largest: float = decode.LARGEST) -> Masks:
    """Every image of a source, in whatever part, to evaluate members on; DataError that names files."""
    found = read(source, known=known.table, largest=largest)
    refuse(source, found)
    parts = found.parts.values()
    every = Part([p for part in parts for p in part.pairs], [s for part in parts for s in part.seen])
    looked = pixels(every.pairs, every.sizes, known.mode, largest)
    return Masks(every.pairs, every.sizes, known, _fingerprint(every, looked, known), largest=largest)


def refuse(source: str, found: Read) -> None:
    """DataError that lists what is wrong with files, or with all masks together."""
    if found.bad:
        several = counted(len(found.bad), "file")
        raise DataError(
            f"{several} of {printable(source)} cannot be used:\n{listed(found.bad)}\nRemove, replace or"
            f" complete them; `concord data check {printable(source)}` lists all"
        )
    if found.problems:
        raise DataError("\n".join(found.problems))


def cut(found: Read, wanted: Wanted) -> dict[str, Part]:
    """Train, valid and test: parts of the source itself, or held out of its training part."""
    if "train" not in found.parts:
        raise DataError(f"{printable(wanted.source)} has no images with masks to train on")
    parts = {"train": found.parts["train"]}
    for name, share in (("test", wanted.test), ("valid", wanted.valid)):
        if name in found.parts:
            if isinstance(share, str):
                raise UsageError(f"data.{name}={share!r}: the source has a {CALLED[name]} part itself")
            parts[name] = found.parts[name]
            continue
        train = parts["train"]
        stay, taken = held_out([pair.name for pair in train.pairs], share, name, wanted.seed)
        if len(taken):
            parts["train"], parts[name] = train.some(stay.tolist()), train.some(taken.tolist())
    train = parts["train"]
    if wanted.limit is not None:
        if wanted.limit < 1:
            raise UsageError(f"data.limit must be 1 or more, got {wanted.limit}")
        chosen = sorted(draws.permutation(len(train.pairs), "limit", wanted.seed)[: wanted.limit].tolist())
        parts["train"] = train.some(chosen)
    return parts


def _weighting(train: Part, wanted: Wanted, known: Known) -> Weighting | None:
    """UsageError for objects of an unknown class."""
    if wanted.border is None:
        return None
    wanted.border.number(known.table.classes)
    return Weighting(wanted.border, balance(class_counts(train, known.table)))


def _fingerprint(part: Part, looked: Pixels, known: Known) -> str:
    """SHA-256 over classes, sizes, masks and images; beyond 256 MiB size and ends of a file stand for it."""
    digest = hashlib.sha256(repr((known.table, known.mode)).encode())
    for seen, image in zip(part.seen, looked.digests, strict=True):
        digest.update(repr(seen.size).encode() + seen.digest + image)
    return digest.hexdigest()

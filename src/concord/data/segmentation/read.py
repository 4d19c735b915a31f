"""Everything that lies at a path of images with masks, looked at but not yet cut into parts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from concord.data.images import decode
from concord.data.images.decode import Mode
from concord.data.images.parts import Bad
from concord.data.segmentation import class_file, coco, layouts
from concord.data.segmentation.inferred import inferred, values_of
from concord.data.segmentation.pairs import Found, Pair
from concord.data.segmentation.survey import Seen, Watch, look
from concord.data.segmentation.table import Code, Table
from concord.errors import ConcordError, DataError, MissingDataError, amount
from concord.files.paths import expanded
from concord.files.text import printable

EXPECTED = """
  images/NAME.png, masks/NAME.png           also below train/, valid/, test/, or with these below
  train/NAME.png, train_labels/NAME.png     also train_masks, trainannot; valid and test likewise
  JPEGImages, SegmentationClass             PASCAL VOC, with ImageSets/Segmentation/*.txt
  images.tif, masks.tif                     frames of stacks; also train-volume.tif, train-labels.tif
  annotations.json, images/                 COCO, outlines or run-length encoded regions"""


@dataclass(frozen=True, eq=False)
class Part:
    """Pairs that can be used, with what was seen of each."""

    pairs: Sequence[Pair]
    seen: Sequence[Seen]

    @property
    def sizes(self) -> list[tuple[int, int]]:
        """(height, width) of each."""
        return [seen.size for seen in self.seen]

    def some(self, numbers: Sequence[int]) -> "Part":
        return Part([self.pairs[i] for i in numbers], [self.seen[i] for i in numbers])


@dataclass(frozen=True, eq=False)
class Read:
    """The parts of a source, "train" where it has a single one, and what is wrong with its files."""

    parts: Mapping[str, Part]
    table: Table | None  # None: the faults in ``problems`` are those of all masks together
    mode: Mode  # L if all images are grey
    bad: Sequence[Bad]
    notices: Sequence[str]
    problems: Sequence[str] = ()


def is_segmentation(source: str | Path) -> bool:
    """Whether a folder has images and masks in one of the layouts that names alone decide."""
    path = expanded(source)
    try:
        return path.is_dir() and layouts.recognised(path)
    except OSError:  # whoever reads it reports that
        return False


def read(
    source: str | Path,
    classes: Mapping[str, Code] | None = None,
    known: Table | None = None,
    largest: float = decode.LARGEST,
    watch: Watch | None = None,
) -> Read:
    """Every mask and the header of every image; faults of single files are collected.

    Classes are ``known``, or given by name with their value or colour, or those of a file beside the folders,
    or follow from the values that are there. Raises DataError for what can not be taken apart at all.
    """
    path = expanded(source)
    try:
        found = _found(path)
        given = known or _table(path, found, classes)
        _refuse_other_categories(path, found, known)
    except ConcordError:
        raise
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        reason = getattr(error, "strerror", None) or error
        raise DataError(f"{printable(path)} cannot be read: {reason}") from error
    every = [pair for part in found.parts.values() for pair in part]
    seen, unusable = look(every, given, largest, watch)
    bad = [*(Bad(name, reason) for name, reason in found.bad), *unusable]
    good = [one for one in seen if one is not None]
    notices, problems = list(found.notices), []
    if given is None and good:
        try:
            given, notice = inferred(values_of((one.counts, one.colours, one.voc) for one in good))
            notices.append(notice)
        except DataError as error:
            problems.append(f"{printable(path)}: {error}")
    mode: Mode = "L" if all(one.grey for one in good) else "RGB"
    return Read(_parted(found, seen), given, mode, bad, notices, problems)


def _found(path: Path) -> Found:
    if path.is_file() and path.suffix.lower() == ".json":
        single, names = coco.in_file(path)
        found: Found | None = Found({"": single}, classes=names)
    elif path.is_dir():
        found = layouts.in_folder(path) or coco.in_folder(path)
    else:
        raise MissingDataError(f"{printable(path)} does not exist; images with masks lie as one of{EXPECTED}")
    if found is None:
        raise DataError(f"{printable(path)} has no images with masks; they lie as one of{EXPECTED}")
    if not any(found.parts.values()):
        example = f", such as {printable(found.bad[0][0])}" if found.bad else ""
        raise DataError(f"{printable(path)}: no image has a mask of its name{example}")
    return found


def _table(path: Path, found: Found, classes: Mapping[str, Code] | None) -> Table | None:
    if classes is not None:
        return Table.of(classes.items())
    if found.classes:
        return Table.of((name, i) for i, name in enumerate(found.classes))
    files = [file for name in class_file.FILES if (file := path / name).is_file()]
    if len(files) > 1:
        raise DataError(f"{printable(path)} has {' and '.join(f.name for f in files)}; keep one of them")
    return class_file.from_file(files[0]) if files else None


def _refuse_other_categories(path: Path, found: Found, known: Table | None) -> None:
    """Numbers of COCO's classes follow from its categories, so that others would be taken for known ones."""
    if known is not None and found.classes and tuple(found.classes) != known.classes:
        given, expected = (", ".join(map(printable, names)) for names in (found.classes, known.classes))
        raise DataError(f"{printable(path)} has the classes {given}; the training had {expected}")


def _parted(found: Found, seen: Sequence[Seen | None]) -> dict[str, Part]:
    parts: dict[str, Part] = {}
    begin = 0
    for name, pairs_ in found.parts.items():
        here = seen[begin : begin + len(pairs_)]
        begin += len(pairs_)
        known = [(pair, one) for pair, one in zip(pairs_, here, strict=True) if one is not None]
        if known:
            parts[name] = Part([pair for pair, _ in known], [one for _, one in known])
    whole = parts.pop("", None)
    if whole is not None and "train" in parts:
        raise DataError(f"{amount(len(whole.pairs), 'image')} are in no part, such as {whole.pairs[0].image}")
    return parts if whole is None else {"train": whole, **parts}

"""Annotated images of any format -> samples with boxes as tensors, and everything wrong with them."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from concord.data.detection.annotated import Corners, Found, Item, Marked, inside
from concord.data.images import decode, pictures
from concord.errors import DataError, suggestion
from concord.files.text import counted, printable

LEAST = 1e-3  # pixels, below which a side is zero: boxes are kept in float32
SHOWN = 10  # faults that a message lists


class Truth(NamedTuple):
    """The objects of one image. Shape: (n, 4) float32, (n,) int64, (n,) bool, (n,) bool"""

    boxes: Tensor
    labels: Tensor
    crowd: Tensor
    difficult: Tensor

    def some(self, chosen: Tensor, boxes: Tensor | None = None) -> "Truth":
        """The objects at ``chosen``, a mask or numbers, with other boxes if given."""
        boxes = self.boxes if boxes is None else boxes
        return Truth(boxes[chosen], self.labels[chosen], self.crowd[chosen], self.difficult[chosen])


@dataclass(frozen=True, eq=False)
class Sample:
    """An image with its objects, in pixels of the file."""

    image: Path
    name: str
    size: tuple[int, int]  # width, height as displayed
    truth: Truth
    mark: int = 0  # 64 bits of the content of the file
    id: int | None = None  # of the image in a COCO file


@dataclass(frozen=True)
class Dropped:
    """Objects that were changed or left out, by file and line."""

    empty: tuple[str, ...] = ()  # zero area
    clipped: tuple[str, ...] = ()  # reached out of the image
    repeated: tuple[str, ...] = ()  # equal to another of the image, class and corners

    def notices(self) -> Iterator[str]:
        """A sentence for each kind that there is."""
        for places, done in (
            (self.empty, "of zero area left out"),
            (self.clipped, "beyond the edge of its image clipped"),
            (self.repeated, "equal to another of the same image left out"),
        ):
            if places:
                yield f"{counted(len(places), 'box', 'boxes')} {done}: {_such(places)}"


@dataclass(frozen=True, eq=False)
class Listing:
    """What was read; ``faults`` are what cannot be used."""

    format: str
    classes: tuple[str, ...]
    parts: Mapping[str, tuple[Sample, ...]]
    faults: tuple[str, ...]
    dropped: Dropped
    notices: tuple[str, ...]
    categories: tuple[int, ...] = ()


def listing(
    root: Path, found: Found, classes: Sequence[str] | None = None, largest: float = decode.LARGEST
) -> Listing:
    """Every image and annotation read. Other ``classes`` than those given or listed are faults.

    The classes are those given, else those that a file lists, else the labels in alphabetical order.
    """
    rows, faults = _rows(found, largest)
    given = tuple(classes) if classes is not None else found.classes
    labels = {row.label for part in rows.values() for _, _, marked in part for row in marked}
    names = given if given is not None else tuple(sorted(labels))
    twice = [f"{printable(root)}: the class {name!r} stands twice in its table" for name in _repeated(names)]
    cleaner = _Cleaner(names, [*twice, *found.faults, *faults])
    parts = {
        part: tuple(cleaner.sample(root, item, header, marked) for item, header, marked in read)
        for part, read in rows.items()
    }
    dropped = Dropped(*(tuple(places) for places in (cleaner.empty, cleaner.clipped, cleaner.repeated)))
    notices = (*found.notices, *dropped.notices(), *_alike(names))
    return Listing(found.format, names, parts, tuple(cleaner.faults), dropped, notices, found.categories)


class Header(NamedTuple):
    width: int
    height: int
    mark: int


Read = tuple[Item, Header, list[Marked]]


def _rows(found: Found, largest: float) -> tuple[dict[str, list[Read]], list[str]]:
    """Part -> images with their headers and objects, and the reasons of those that cannot be read."""
    items = [(part, item) for part, of_part in found.parts.items() for item in of_part]
    heads = pictures.headers(Path("/"), [str(item.image.absolute()) for _, item in items], largest=largest)
    rows: dict[str, list[Read]] = {part: [] for part in ("train", "valid", "test") if part in found.parts}
    faults = [f"{printable(items[i][1].image)} {reason}" for i, reason in heads.bad.items()]
    for i, (part, item) in enumerate(items):
        if i in heads.bad:
            continue
        record = heads.records[i]
        header = Header(int(record["width"]), int(record["height"]), int(record["mark"]))
        try:
            rows[part].append((item, header, item.read(header.width, header.height)))
        except DataError as error:
            faults.append(str(error))
    return rows, faults


class _Cleaner:
    """Checks objects and notes what was wrong with them."""

    def __init__(self, classes: tuple[str, ...], faults: list[str]) -> None:
        self.number = {name: k for k, name in enumerate(classes)}
        self.faults = faults
        self.empty: list[str] = []
        self.clipped: list[str] = []
        self.repeated: list[str] = []

    def sample(self, root: Path, item: Item, header: Header, marked: Sequence[Marked]) -> Sample:
        kept: dict[tuple[str, Corners], Marked] = {}
        for row in marked:
            try:
                corners = self._corners(row, header)
            except DataError as error:
                self.faults.append(str(error))
                continue
            if corners is None:
                continue
            if (row.label, corners) in kept:
                self.repeated.append(row.where)
            else:
                kept[row.label, corners] = row
        name = str(item.image.relative_to(root)) if item.image.is_relative_to(root) else str(item.image)
        truth = self._truth(kept)
        return Sample(item.image, name, (header.width, header.height), truth, header.mark, item.id)

    def _corners(self, row: Marked, header: Header) -> Corners | None:
        """The corners within the image; None for a box of zero area."""
        if row.label not in self.number:
            raise DataError(
                f"{row.where}: class {printable(row.label)!r} is not among the classes"
                f" ({', '.join(map(printable, self.number))}){suggestion(row.label, self.number)}"
            )
        x1, y1, x2, y2 = row.corners
        if 0 <= x2 - x1 < LEAST or 0 <= y2 - y1 < LEAST:
            self.empty.append(row.where)
            return None
        corners = inside(row.corners, header.width, header.height, row.where)
        # a fraction of a pixel is the rounding of a file in fractions
        if max(abs(a - b) for a, b in zip(corners, row.corners, strict=True)) > 1:
            self.clipped.append(row.where)
        return corners

    def _truth(self, kept: Mapping[tuple[str, Corners], Marked]) -> Truth:
        rows = list(kept.values())
        return Truth(
            torch.tensor([corners for _, corners in kept], dtype=torch.float32).reshape(-1, 4),
            torch.tensor([self.number[row.label] for row in rows], dtype=torch.int64),
            torch.tensor([row.crowd for row in rows], dtype=torch.bool),
            torch.tensor([row.difficult for row in rows], dtype=torch.bool),
        )


def _repeated(names: Sequence[str]) -> list[str]:
    return [printable(name) for name, count in Counter(names).items() if count > 1]


def alike(classes: Sequence[str]) -> list[tuple[str, ...]]:
    """Groups of classes that differ in case, spaces, hyphens or underscores only."""
    groups: dict[str, list[str]] = {}
    for name in dict.fromkeys(classes):
        groups.setdefault("".join(name.casefold().split()).replace("_", "").replace("-", ""), []).append(name)
    return [tuple(names) for names in groups.values() if len(names) > 1]


def _alike(classes: Sequence[str]) -> Iterator[str]:
    for names in alike(classes):
        shown = " and ".join(repr(printable(name)) for name in names)
        yield f"the classes {shown} differ in case or spaces only; they are kept apart"


def refused(faults: Sequence[str], source: str | Path) -> str:
    """The first faults, one a line, and how all are listed."""
    lines = [*faults[:SHOWN], *([f"and {len(faults) - SHOWN:,} more faults"] if len(faults) > SHOWN else [])]
    return "\n".join(lines) + f"\n`concord data check {printable(source)}` lists all of them"


def has_objects(samples: Sequence[Sample]) -> bool:
    """Whether any box counts: one that is neither a crowd nor difficult."""
    return any(bool((~(s.truth.crowd | s.truth.difficult)).any()) for s in samples)


def counts(samples: Sequence[Sample], classes: Sequence[str]) -> dict[str, int]:
    """Class -> objects."""
    found = Counter(k for sample in samples for k in sample.truth.labels.tolist())
    return {name: found[k] for k, name in enumerate(classes)}


def _such(places: Sequence[str]) -> str:
    shown = "; ".join(places[:3])
    return f"{shown}; and {len(places) - 3:,} more" if len(places) > 3 else shown


def sides(samples: Sequence[Sample], longest: int | None = None) -> Tensor:
    """Widths and heights of all boxes, in pixels of the files or of images of that longest side.

    Shape: (n, 2) float64
    """
    found = [torch.zeros(0, 2, dtype=torch.float64)]
    for sample in samples:
        boxes = sample.truth.boxes.double()
        scale = 1.0 if longest is None else longest / max(sample.size)
        found.append((boxes[:, 2:] - boxes[:, :2]) * scale)
    return torch.cat(found)

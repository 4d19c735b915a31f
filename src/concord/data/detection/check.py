"""Everything that is wrong with a set of images with boxes, in one report; nothing is changed."""

import dataclasses
import itertools
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torchvision.ops import box_iou

from concord.data.detection.layout import found
from concord.data.detection.load import Parts, Wanted, divided, require_scorable
from concord.data.detection.read import Listing, Sample, counts, listing, sides
from concord.data.images import decode
from concord.data.images.pictures import Watch
from concord.errors import DataError, amount
from concord.files.paths import expanded
from concord.files.text import counted, printable

EXAMPLES = 10
OVERLAP = 0.9  # IoU of two boxes of one class, above which one of them is likely a duplicate


@dataclass(frozen=True)
class Places:
    """How many there are, and the first of them by file and line."""

    count: int = 0
    examples: tuple[str, ...] = ()

    @classmethod
    def of(cls, places: Sequence[str]) -> "Places":
        return cls(len(places), tuple(places[:EXAMPLES]))


@dataclass(frozen=True)
class BoxReport:
    """What ``check`` found. ``ok``: a training takes the set as it is, and gives the same notices."""

    source: str
    kind: str = "unknown"
    images: Mapping[str, int] = field(default_factory=dict)  # part -> images
    without_boxes: Mapping[str, int] = field(default_factory=dict)  # part -> images
    counts: Mapping[str, Mapping[str, int]] = field(default_factory=dict)  # part -> class -> boxes
    sizes: Mapping[str, int] = field(default_factory=dict)  # 'WIDTHxHEIGHT' -> images
    boxes: Mapping[str, tuple[float, float]] = field(
        default_factory=dict
    )  # smallest, median, largest by area
    most_boxes: int = 0  # of one image
    zero_area: Places = Places()
    clipped: Places = Places()
    repeated: Places = Places()
    overlapping: Places = Places()  # pairs of one class
    problems: tuple[str, ...] = ()
    notices: tuple[str, ...] = ()
    split: Mapping[str, int] = field(default_factory=dict)  # part -> images, as ``load`` would cut them

    @property
    def ok(self) -> bool:
        return not self.problems

    def as_dict(self) -> dict[str, Any]:
        """The same as JSON values, with ``ok``."""
        return {"ok": self.ok, **dataclasses.asdict(self)}

    def lines(self) -> Iterator[str]:
        """The same for a terminal; no line holds a control character."""
        verdict = "usable" if self.ok else "not usable as it is"
        yield f"{printable(self.source)}: images with boxes ({self.kind}), {verdict}"
        yield from self._contents()
        for what, places in (
            ("of zero area, left out", self.zero_area),
            ("beyond the edge of the image, clipped", self.clipped),
            ("there twice, left out", self.repeated),
        ):
            if places.count:
                yield f"{counted(places.count, 'box', 'boxes')} {what}:"
                yield from _examples(places)
        if self.overlapping.count:
            pairs = counted(self.overlapping.count, "pair of boxes", "pairs of boxes")
            yield f"{pairs} of one class with an IoU above {OVERLAP:g}, likely duplicates:"
            yield from _examples(self.overlapping)
        yield from (f"problem: {printable(text)}" for text in self.problems)
        yield from (f"note: {printable(text)}" for text in self.notices)

    def _contents(self) -> Iterator[str]:
        for part, number in self.images.items():
            each = ", ".join(f"{printable(name)} {n:,}" for name, n in self.counts[part].items())
            bare = self.without_boxes.get(part, 0)
            yield f"{part}: {amount(number, 'image')}, boxes: {each}" + (
                f"; {bare:,} without boxes" if bare else ""
            )
        if self.split and self.split != self.images:
            yield "split: " + ", ".join(f"{part} {n:,}" for part, n in self.split.items())
        if self.sizes:
            shown = ", ".join(f"{size} ({n:,})" for size, n in itertools.islice(self.sizes.items(), EXAMPLES))
            more = f" and {len(self.sizes) - EXAMPLES:,} more sizes" if len(self.sizes) > EXAMPLES else ""
            yield f"images, width x height: {shown}{more}"
        if self.boxes:
            shown = ", ".join(f"{w:g}x{h:g} {name}" for name, (w, h) in self.boxes.items())
            yield f"boxes, width x height: {shown}; at most {self.most_boxes:,} in one image"


def _examples(places: Places) -> Iterator[str]:
    yield from (f"  {printable(place)}" for place in places.examples)
    if places.count > len(places.examples):
        yield f"  and {places.count - len(places.examples):,} more"


def check(source: str, *, watch: Watch | None = None) -> BoxReport:
    """The report on what ``load`` with this ``source`` would read, and how it would divide it.

    Every image is decoded; ``watch`` hears of each.
    """
    try:
        read = listing(expanded(source), found(source))
    except DataError as error:
        return BoxReport(source, problems=(str(error),))
    parts, wrong = _as_trained(read, source)
    notices, shown = (parts.notices if parts else read.notices), set(read.dropped.notices())
    samples = [sample for part in read.parts.values() for sample in part]
    return BoxReport(
        source,
        read.format,
        images={part: len(of_part) for part, of_part in read.parts.items()},
        without_boxes=_without_boxes(read),
        counts={part: counts(of_part, read.classes) for part, of_part in read.parts.items()},
        sizes=_sizes(samples),
        boxes=_boxes(samples),
        most_boxes=max((len(sample.truth.labels) for sample in samples), default=0),
        zero_area=Places.of(read.dropped.empty),
        clipped=Places.of(read.dropped.clipped),
        repeated=Places.of(read.dropped.repeated),
        overlapping=Places.of([text for sample in samples for text in overlaps(sample, read.classes)]),
        problems=(*read.faults, *_undecodable(samples, watch), *wrong),
        notices=tuple(text for text in notices if text not in shown),
        split={} if parts is None else _split(parts),
    )


def _as_trained(read: Listing, source: str) -> tuple[Parts | None, tuple[str, ...]]:
    """The parts as ``load`` makes them, or None, and what it or a training refuses."""
    parts = None
    try:
        parts = divided(read, Wanted(source))
        require_scorable(parts, source)
    except DataError as error:
        return parts, () if read.faults else (str(error),)
    return parts, ()


def _undecodable(samples: Sequence[Sample], watch: Watch | None) -> Iterator[str]:
    """What is wrong with the pixels of images, file by file."""
    for done, sample in enumerate(samples, 1):
        try:
            decode.open_image(sample.image, mode="RGB")
        except DataError as error:
            yield str(error)
        if watch is not None:
            watch(done, len(samples))


def _split(parts: Parts) -> dict[str, int]:
    named = (("train", parts.train), ("valid", parts.valid), ("test", parts.test))
    return {name: len(part) for name, part in named if part is not None}


def _without_boxes(read: Listing) -> dict[str, int]:
    found = {part: sum(not len(s.truth.labels) for s in samples) for part, samples in read.parts.items()}
    return {part: count for part, count in found.items() if count}


def _sizes(samples: Sequence[Sample]) -> dict[str, int]:
    found = Counter(sample.size for sample in samples).most_common()
    return {f"{width}x{height}": count for (width, height), count in found}


def _boxes(samples: Sequence[Sample]) -> dict[str, tuple[float, float]]:
    """The smallest, the median and the largest box by area; its width and height in pixels of the file."""
    all_ = sides(samples)
    order = all_.prod(1).argsort()
    if not len(order):
        return {}
    chosen = {"smallest": 0, "median": len(order) // 2, "largest": len(order) - 1}
    return {name: (float(all_[order[i]][0]), float(all_[order[i]][1])) for name, i in chosen.items()}


def overlaps(sample: Sample, classes: Sequence[str]) -> Iterator[str]:
    """A text for each pair of boxes of one class with an IoU above 0.9."""
    boxes, labels = sample.truth.boxes, sample.truth.labels
    same = (box_iou(boxes, boxes) > OVERLAP) & (labels[:, None] == labels)
    for i, j in torch.nonzero(same.triu(1)).tolist():
        one, other = (", ".join(f"{v:g}" for v in boxes[k].tolist()) for k in (i, j))
        yield f"{sample.name}: {classes[int(labels[i])]} ({one}) and ({other})"

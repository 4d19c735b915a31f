"""Everything that is wrong with a data set, in one report; nothing is changed and no fault ends it early."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

import torch

from concord.data.images.duplicates import Copy, copies
from concord.data.images.images import Images
from concord.data.images.keep import settled
from concord.data.images.parts import Bad, Parts
from concord.data.images.pictures import Watch
from concord.data.images.sources import read
from concord.data.splits import MOST_IMBALANCE, imbalance
from concord.errors import DataError
from concord.files.text import printable

EXAMPLES = 10


@dataclass(frozen=True)
class Repeats:
    """Images equal to others, byte for byte; ``conflicting`` of them have another label."""

    count: int
    conflicting: int
    examples: tuple[str, ...]


@dataclass(frozen=True)
class Report:
    """What ``check`` found. ``ok``: usable as it is, with no copy of a test image among those trained on."""

    source: str
    kind: str = "unknown"
    counts: Mapping[str, Mapping[str, int]] = field(default_factory=dict)  # part -> class -> images
    sizes: Mapping[str, int] = field(default_factory=dict)  # 'WIDTHxHEIGHT' -> images, as stored
    imbalance: float | None = None  # largest class over smallest, in train
    problems: tuple[str, ...] = ()
    bad: tuple[Bad, ...] = ()
    missing: Mapping[str, Sequence[str]] = field(default_factory=dict)  # part -> classes without an image
    duplicates: Mapping[str, Repeats] = field(default_factory=dict)  # part -> copies within it
    leaks: Mapping[str, Repeats] = field(default_factory=dict)  # 'test in train' -> copies across parts
    notices: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        repeats = (*self.duplicates.values(), *self.leaks.values())
        return not (self.problems or self.bad or self.leaks or any(r.conflicting for r in repeats))

    def as_dict(self) -> dict[str, Any]:
        """The same as JSON values, with ``ok``."""
        return {"ok": self.ok, **dataclasses.asdict(self)}

    def lines(self) -> Iterator[str]:
        """The same for a terminal; no line holds a control character."""
        yield f"{printable(self.source)}: {self.kind}, {'usable' if self.ok else 'not usable as it is'}"
        yield from self._contents()
        yield from (f"problem: {printable(line)}" for text in self.problems for line in text.split("\n"))
        yield from (f"bad file: {printable(b.name)}: {printable(b.reason)}" for b in self.bad)
        for part, repeats in self.duplicates.items():
            yield from _repeated(f"{part}: {repeats.count:,} copies of other images of {part}", repeats)
        for pair, repeats in self.leaks.items():
            yield from _repeated(f"leak: {repeats.count:,} images of {pair}", repeats)
        if self.duplicates or self.leaks:
            yield "remove exact copies before splitting with --set data.drop_duplicates=true"
        yield from (f"note: {printable(text)}" for text in self.notices)

    def _contents(self) -> Iterator[str]:
        for part, counts in self.counts.items():
            each = ", ".join(f"{printable(name)} {n:,}" for name, n in counts.items())
            yield f"{part}: {sum(counts.values()):,} images ({each})"
        for part, classes in self.missing.items():
            yield f"{part}: no image of {', '.join(map(printable, classes))}"
        if self.sizes:
            shown = [f"{size} {n:,}" for size, n in list(self.sizes.items())[:EXAMPLES]]
            more = len(self.sizes) - len(shown)
            yield f"sizes: {', '.join(shown)}{f' and {more:,} more' if more else ''}"
        if self.imbalance is not None and self.imbalance > MOST_IMBALANCE:
            yield f"imbalance: the largest class has {self.imbalance:.0f} times the images of the smallest"


def _repeated(title: str, repeats: Repeats) -> Iterator[str]:
    yield title + (f", {repeats.conflicting:,} with another label" if repeats.conflicting else "")
    yield from (f"  {printable(example)}" for example in repeats.examples)


def check(source: str, *, size: int | None = None, watch: Watch | None = None) -> Report:
    """The report on what ``load`` with the same ``source`` and ``size`` would read.

    Faults become part of the report; only ResourceError is raised.
    """
    try:
        parts = settled(read(source, size=size, watch=watch), "auto", watch, disk=False)
    except DataError as error:
        return Report(source, problems=(str(error),))
    present = dict(parts.present())
    return Report(
        source,
        parts.kind,
        counts={part: _counts(images) for part, images in present.items()},
        sizes=parts.sizes,
        imbalance=imbalance(parts.train) if parts.train is not None else None,
        problems=parts.problems,
        bad=parts.bad,
        missing=_filled({part: _missing(images) for part, images in present.items()}),
        duplicates=_within(present),
        leaks=_across(parts),
        notices=parts.notices,
    )


def _counts(images: Images) -> dict[str, int]:
    counts = torch.bincount(images.labels, minlength=len(images.classes)).tolist()
    return dict(zip(images.classes, counts, strict=True))


def _missing(images: Images) -> list[str]:
    return [name for name, n in _counts(images).items() if n == 0]


def _filled(lists: Mapping[str, Sequence[str]]) -> dict[str, Sequence[str]]:
    return {part: names for part, names in lists.items() if names}


def _within(present: Mapping[str, Images]) -> dict[str, Repeats]:
    found = {part: copies(images) for part, images in present.items()}
    return {part: _repeats(list(gone.values())) for part, gone in found.items() if gone}


def _across(parts: Parts) -> dict[str, Repeats]:
    leaks: dict[str, Repeats] = {}
    for (name, images), (later_name, later) in combinations(parts.present(), 2):
        if images.shape == later.shape:
            found = copies(later, images)
            if found:
                leaks[f"{later_name} in {name}"] = _repeats(list(found.values()))
    return leaks


def _repeats(found: Sequence[Copy]) -> Repeats:
    conflicting = [copy for copy in found if copy.conflicting]
    shown = (conflicting + [copy for copy in found if not copy.conflicting])[:EXAMPLES]
    return Repeats(len(found), len(conflicting), tuple(map(str, shown)))

"""Everything that is wrong with a data set, in one report; nothing is changed and no fault ends it early."""

import dataclasses
import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from concord.data.images.duplicates import Copy, Repeated
from concord.data.images.images import Images
from concord.data.images.keep import settled
from concord.data.images.parts import SKIP, Bad, Parts, unusable
from concord.data.images.pictures import Watch
from concord.data.images.sources import read
from concord.data.splits import TEST, VALID, imbalance, shortcomings, split, test_size
from concord.errors import DataError
from concord.files.text import counted, printable

EXAMPLES = 10
DROP = "remove exact copies before splitting with --set data.drop_duplicates=true"


@dataclass(frozen=True)
class Repeats:
    """Images equal to others, byte for byte; ``conflicting`` of them have another label."""

    count: int
    conflicting: int
    examples: tuple[str, ...]


@dataclass(frozen=True)
class Report:
    """What ``check`` found. ``ok``: ``load`` takes it as it is, and gives the same warnings and notices."""

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
    warnings: tuple[str, ...] = ()  # copies under two labels or in two parts
    split: Mapping[str, int] = field(default_factory=dict)  # part -> images, as `load` would cut them

    @property
    def ok(self) -> bool:
        return not (self.problems or self.bad)

    def as_dict(self) -> dict[str, Any]:
        """The same as JSON values, with ``ok``."""
        return {"ok": self.ok, **dataclasses.asdict(self)}

    def lines(self) -> Iterator[str]:
        """The same for a terminal; no line holds a control character."""
        verdict = "usable, with a warning" if self.warnings else "usable"
        yield f"{printable(self.source)}: {self.kind}, {verdict if self.ok else 'not usable as it is'}"
        yield from self._contents()
        for text in self.problems:
            first, *rest = text.split("\n")
            yield f"problem: {printable(first)}"
            yield from map(printable, rest)
        if self.bad:
            yield from unusable(self.source, self.bad, len(self.bad)).split("\n")
            yield SKIP
        for part, repeats in self.duplicates.items():
            others = f"copy of another image of {part}", f"copies of other images of {part}"
            yield from _repeated(f"{part}: {counted(repeats.count, *others)}", repeats)
        for pair, repeats in self.leaks.items():
            yield from _repeated(f"leak: {counted(repeats.count, 'image')} of {pair}", repeats)
        if self.duplicates or self.leaks:
            yield f"{DROP}; the first of equal images stays, with its label"
        yield from (f"warning: {printable(text)}" for text in self.warnings)
        yield from (f"note: {printable(text)}" for text in self.notices)

    def _contents(self) -> Iterator[str]:
        for part, counts in self.counts.items():
            each = ", ".join(f"{printable(name)} {n:,}" for name, n in counts.items())
            yield f"{part}: {counted(sum(counts.values()), 'image')} ({each})"
        if self.split and self.split.keys() != self.counts.keys():
            each = ", ".join(f"{part} {n:,}" for part, n in self.split.items())
            yield f"split: {each} (with data.test = {TEST:g}, data.valid = {VALID:g})"
        if self.sizes:
            yield f"sizes, width x height: {_sizes(self.sizes)}"


def _sizes(sizes: Mapping[str, int]) -> str:
    """Each size with its images; of many the smallest, the median and the largest by area."""
    if len(sizes) <= EXAMPLES:
        return ", ".join(f"{size} ({counted(n, 'image')})" for size, n in sizes.items())
    by_area = sorted(sizes, key=lambda size: math.prod(map(int, size.split("x"))))
    upto = list(itertools.accumulate(sizes[size] for size in by_area))
    median = by_area[next(i for i, n in enumerate(upto) if 2 * n >= upto[-1])]
    return f"{by_area[0]} smallest, {median} median, {by_area[-1]} largest; {len(sizes):,} sizes in all"


def _repeated(title: str, repeats: Repeats) -> Iterator[str]:
    yield title + (f", {repeats.conflicting:,} with another label" if repeats.conflicting else "")
    yield from (f"  {printable(example)}" for example in repeats.examples)


def check(source: str, *, size: int | None = None, watch: Watch | None = None) -> Report:
    """The report on what ``load`` with this ``source`` and ``size`` would read, and how it would split it.

    Faults become part of the report; only ResourceError is raised.
    """
    try:
        parts = settled(read(source, size=size, watch=watch), "auto", watch, disk=False)
    except DataError as error:
        return Report(source, problems=(str(error),))
    present = dict(parts.present())
    repeated = Repeated.of(parts)
    problems, notices, cut = _as_trained(parts)
    return Report(
        source,
        parts.kind,
        counts={part: _counts(images) for part, images in present.items()},
        sizes=parts.sizes,
        imbalance=imbalance(parts.train) if parts.train is not None else None,
        problems=(*parts.problems, *problems),
        bad=parts.bad,
        missing=_filled({part: _missing(images) for part, images in present.items()}),
        duplicates={part: _repeats(list(gone.values())) for part, gone in repeated.within.items()},
        leaks={f"{a} in {b}": _repeats(list(gone.values())) for (a, b), gone in repeated.across.items()},
        notices=(*parts.notices, *notices),
        warnings=repeated.warnings(),
        split=cut,
    )


def _as_trained(parts: Parts) -> tuple[tuple[str, ...], tuple[str, ...], dict[str, int]]:
    """What ``load`` refuses in the split, what it says of it, and how large its parts are."""
    if parts.train is None:
        return (), (), {}
    try:
        three = split(parts.train, parts, valid=VALID, test=test_size(len(parts.train), TEST), seed=0)
    except DataError as error:
        return (str(error),), (), {}
    return (), shortcomings(*three), dict(zip(("train", "valid", "test"), map(len, three), strict=True))


def _counts(images: Images) -> dict[str, int]:
    counts = torch.bincount(images.labels, minlength=len(images.classes)).tolist()
    return dict(zip(images.classes, counts, strict=True))


def _missing(images: Images) -> list[str]:
    return [name for name, n in _counts(images).items() if n == 0]


def _filled(lists: Mapping[str, Sequence[str]]) -> dict[str, Sequence[str]]:
    return {part: names for part, names in lists.items() if names}


def _repeats(found: Sequence[Copy]) -> Repeats:
    conflicting = [copy for copy in found if copy.conflicting]
    shown = (conflicting + [copy for copy in found if not copy.conflicting])[:EXAMPLES]
    return Repeats(len(found), len(conflicting), tuple(map(str, shown)))

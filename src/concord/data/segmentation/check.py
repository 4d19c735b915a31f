"""Everything that is wrong with images and their masks, in one report; nothing is changed."""

import dataclasses
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from concord.data.images.parts import Bad
from concord.data.segmentation.load import Wanted, cut
from concord.data.segmentation.notices import class_counts, copies, empty, leaks, shortcomings
from concord.data.segmentation.read import Part, Read, read
from concord.data.segmentation.survey import Watch, pixels
from concord.data.segmentation.table import Table
from concord.errors import DataError
from concord.files.text import counted, printable

SHOWN = 10  # sizes of images


@dataclass(frozen=True)
class Report:
    """What ``check`` found. ``ok``: ``load`` takes it as it is."""

    source: str
    kind: str = "masks"
    counts: Mapping[str, int] = field(default_factory=dict)  # part -> images
    pixels: Mapping[str, Mapping[str, int]] = field(default_factory=dict)  # part -> class -> pixels
    ignored: Mapping[str, int] = field(default_factory=dict)  # part -> pixels that count for nothing
    empty: Mapping[str, int] = field(default_factory=dict)  # part -> masks with one class alone
    sizes: Mapping[str, int] = field(default_factory=dict)  # 'WIDTHxHEIGHT' -> images
    problems: tuple[str, ...] = ()
    bad: tuple[Bad, ...] = ()
    warnings: tuple[str, ...] = ()  # images that stand in two places
    notices: tuple[str, ...] = ()
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
        yield f"{printable(self.source)}: images with masks, {verdict if self.ok else 'not usable as it is'}"
        for part, count in self.counts.items():
            yield f"{part}: {counted(count, 'image')}{self._pixels(part)}"
        if self.split and self.split.keys() != self.counts.keys():
            default = Wanted("")
            each = ", ".join(f"{part} {n:,}" for part, n in self.split.items())
            yield f"split: {each} (with data.test = {default.test}, data.valid = {default.valid})"
        if self.sizes:
            shown = [f"{size} ({counted(n, 'image')})" for size, n in list(self.sizes.items())[:SHOWN]]
            more = f" and {len(self.sizes) - SHOWN:,} more" if len(self.sizes) > SHOWN else ""
            yield f"sizes, width x height: {', '.join(shown)}{more}"
        for text in self.problems:
            yield from map(printable, f"problem: {text}".split("\n"))
        yield from (f"unusable: {printable(bad.name)}: {printable(bad.reason)}" for bad in self.bad)
        yield from (f"warning: {printable(text)}" for text in self.warnings)
        yield from (f"note: {printable(text)}" for text in self.notices)

    def _pixels(self, part: str) -> str:
        counts = self.pixels.get(part, {})
        whole = sum(counts.values()) + self.ignored.get(part, 0)
        if not whole:
            return ""
        shares = [f"{printable(name)} {n / whole:.1%}" for name, n in counts.items()]
        if self.ignored[part]:
            shares.append(f"left out {self.ignored[part] / whole:.1%}")
        single = f"; {counted(self.empty[part], 'mask')} of one class alone" if self.empty[part] else ""
        return f", pixels {', '.join(shares)}{single}"


def check(source: str, *, watch: Watch | None = None) -> Report:
    """The report on what ``load`` would read, and how it would split it; every image is decoded.

    Faults become part of the report.
    """
    wanted = Wanted(source)
    try:
        found = read(source, largest=wanted.largest, watch=watch)
    except DataError as error:
        return Report(source, problems=(str(error),))
    sizes = Counter(f"{s.size[1]}x{s.size[0]}" for part in found.parts.values() for s in part.seen)
    report = Report(
        source,
        counts={name: len(part.pairs) for name, part in found.parts.items()},
        sizes=dict(sizes.most_common()),
        problems=tuple(found.problems),
        bad=tuple(found.bad),
        notices=tuple(found.notices),
    )
    if found.table is None:
        return report
    return _as_trained(_with_classes(report, found.parts, found.table), found, wanted, found.table)


def _with_classes(report: Report, parts: Mapping[str, Part], table: Table) -> Report:
    pixels_ = {name: class_counts(part, table) for name, part in parts.items()}
    whole = {name: sum(sum(seen.counts.values()) for seen in part.seen) for name, part in parts.items()}
    return dataclasses.replace(
        report,
        pixels={name: dict(zip(table.classes, counts, strict=True)) for name, counts in pixels_.items()},
        ignored={name: whole[name] - sum(counts) for name, counts in pixels_.items()},
        empty={name: sum(empty(seen.counts, table) for seen in part.seen) for name, part in parts.items()},
    )


def _as_trained(report: Report, found: Read, wanted: Wanted, table: Table) -> Report:
    """What ``load`` refuses in the split, and which images stand in two parts."""
    try:
        parts = cut(found, wanted)
        looked = {
            name: pixels(part.pairs, part.sizes, found.mode, wanted.largest, most=sys.maxsize)
            for name, part in parts.items()
        }
        notices = shortcomings(parts, table)
    except DataError as error:
        return dataclasses.replace(report, problems=(*report.problems, str(error)))
    return dataclasses.replace(
        report,
        notices=(*report.notices, *notices),
        warnings=(*copies(parts, looked), *leaks(parts, looked)),
        split={name: len(part.pairs) for name, part in parts.items()},
    )

"""The table of classes that fits masks without one."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from concord.data.segmentation.raster import IGNORED, VOC
from concord.data.segmentation.table import NOTHING, Table, listed
from concord.errors import DataError

MOST_FOUND = 64  # distinct values
SAY = "write a file classes.csv of rows NAME,VALUE or NAME,R,G,B beside the folders, or give data.classes"


@dataclass(frozen=True)
class Values:
    """What all masks hold: value -> pixels, whether there are colours, and whether all palettes are VOC's."""

    counts: Mapping[int, int]
    colours: bool = False
    voc: bool = False


def values_of(masks: Iterable[tuple[Mapping[int, int], bool, bool]]) -> Values:
    """What all masks hold together, of each its counts, whether it holds colours, and a palette of VOC."""
    counts: Counter[int] = Counter()
    colours, voc = False, True
    for some, coloured, of_voc in masks:
        counts.update(some)
        colours, voc = colours or coloured, voc and of_voc
    return Values(counts, colours, voc)


def inferred(values: Values) -> tuple[Table, str]:
    """The table that fits values without one, and the notice that says so; DataError if none does.

    0 and 255 are two classes, black and white. The palette of VOC has its 21 classes, and 255 counts for
    nothing. Other values are the classes 0 to K-1; where most of these are missing, as with 0, 1 and 255,
    values could mean several things.
    """
    found = sorted(values.counts)
    if values.colours:
        raise DataError(f"masks hold colours: which class each of them is must be said; {SAY}")
    if values.voc and set(found) <= {*range(len(VOC)), IGNORED}:
        codes = tuple((k, k) for k in range(len(VOC)))
        return Table(tuple(VOC), (*codes, (IGNORED, NOTHING))), (
            "masks have the palette of PASCAL VOC: its 21 classes, pixels of index 255 count for nothing"
        )
    if len(found) < 2:
        raise DataError(f"all masks are empty: every pixel has the value {found[0]}; nothing can be learned")
    if found == [0, 255]:
        return Table(("black", "white"), ((0, 0), (255, 1))), (
            f"masks hold 0 and 255: class 0 is black, class 1 is white; to name or exchange them, {SAY}"
        )
    if len(found) > MOST_FOUND:
        raise DataError(
            f"masks hold {len(found)} different values, as photographs and smoothed edges have;"
            f" save one value for each class, or {SAY}"
        )
    if 2 * len(found) < found[-1] + 1:
        raise DataError(
            f"masks hold the values {listed(found, False)}: which class each of them is must be said"
            f" (the name ignore is for pixels that count for nothing); {SAY}"
        )
    count = found[-1] + 1
    absent = [str(k) for k in range(count) if k not in values.counts]
    missing = f"; no pixel has {', '.join(absent)}" if absent else ""
    return Table(tuple(map(str, range(count))), tuple((k, k) for k in range(count))), (
        f"masks hold 0 to {count - 1}, taken for {count} classes{missing}; to name them, {SAY}"
    )

"""What is missing in the parts of images with masks, or stands in two places."""

from collections.abc import Mapping
from itertools import combinations

from concord.data.images.parts import CALLED
from concord.data.segmentation.read import Part
from concord.data.segmentation.survey import Pixels
from concord.data.segmentation.table import Table
from concord.errors import DataError
from concord.files.text import counted, printable


def class_counts(part: Part, table: Table) -> list[int]:
    """Pixels of each class."""
    rows = [table.counts_of(seen.counts) for seen in part.seen]
    return [sum(column) for column in zip(*rows, strict=True)]


def shortcomings(parts: Mapping[str, Part], table: Table) -> list[str]:
    """What is missing in parts; DataError if the training part has a single class."""
    notices = []
    for name, part in parts.items():
        counts = class_counts(part, table)
        if name == "train" and sum(n > 0 for n in counts) < 2:
            each = ", ".join(f"{printable(c)} {n:,}" for c, n in zip(table.classes, counts, strict=True))
            raise DataError(
                "the masks of the training part hold fewer than two classes (pixels of each:"
                f" {each}); nothing can be learned"
            )
        absent = [printable(c) for c, n in zip(table.classes, counts, strict=True) if not n]
        if absent:
            notices.append(f"the {CALLED[name]} part has no pixel of {', '.join(absent)}")
        single = [p for p, s in zip(part.pairs, part.seen, strict=True) if empty(s.counts, table)]
        if single:
            notices.append(
                f"{counted(len(single), 'mask')} of the {CALLED[name]} part"
                f" {'holds' if len(single) == 1 else 'hold'} one class alone, such as {single[0].truth}"
            )
    return notices


def empty(counts: Mapping[int, int], table: Table) -> bool:
    """Whether a mask with pixels of these codes holds at most one class."""
    return sum(n > 0 for n in table.counts_of(counts)) < 2


def leaks(parts: Mapping[str, Part], looked: Mapping[str, Pixels]) -> list[str]:
    """Images of a later part that stand in an earlier one, pixel for pixel, or that nobody looked."""
    if not all(part.whole for part in looked.values()):
        return [
            "copies among the images were not looked for, because they are more than 256 MiB of pixels;"
            " `concord data check` looks for them"
        ]
    notices = []
    for earlier, later in combinations(parts, 2):
        known = dict(zip(looked[earlier].digests, parts[earlier].pairs, strict=True))
        again = zip(parts[later].pairs, looked[later].digests, strict=True)
        twins = [(pair, known[digest]) for pair, digest in again if digest in known]
        if twins:
            are = "is" if len(twins) == 1 else "are"
            notices.append(
                f"{counted(len(twins), 'image')} of the {CALLED[later]} part {are} in the {CALLED[earlier]}"
                f" part too, such as {twins[0][0].image} = {twins[0][1].image}; remove the copies"
            )
    return notices


def copies(parts: Mapping[str, Part], looked: Mapping[str, Pixels]) -> list[str]:
    """Images that stand twice in one part."""
    notices = []
    for name, part in parts.items():
        digests = looked[name].digests
        first = {digest: pair for pair, digest in reversed(list(zip(part.pairs, digests, strict=True)))}
        twins = [(p, first[d]) for p, d in zip(part.pairs, digests, strict=True) if first[d] is not p]
        if twins:
            notices.append(
                f"{counted(len(twins), 'copy', 'copies')} of other images in the {CALLED[name]} part,"
                f" such as {twins[0][0].image} = {twins[0][1].image}; remove the copies"
            )
    return notices


def small(train: Part, sides: tuple[int, int]) -> list[str]:
    """How many images are smaller than the crops (height, width)."""
    height, width = sides
    less = [size for size in train.sizes if size[0] < height or size[1] < width]
    if not less:
        return []
    return [
        f"{counted(len(less), 'training image')} smaller than the crops of {width}x{height}, such as"
        f" {less[0][1]}x{less[0][0]}: mirrored at the edges, where pixels count for nothing"
    ]

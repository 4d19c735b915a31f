"""Which values or colours of masks are which class."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from concord.data.segmentation.raster import GREEN, IGNORED, RED, Raster
from concord.errors import UsageError, amount

Code = int | tuple[int, int, int]  # a value, or a colour (r, g, b)
NOTHING = -1  # the class of pixels that count for nothing
LEFT_OUT = ("ignore", "void")  # names of what counts for nothing


@dataclass(frozen=True)
class Table:
    """``codes``: (value, class) or (RED * r + GREEN * g + b, class), -1 for what counts for nothing."""

    classes: tuple[str, ...]
    codes: tuple[tuple[int, int], ...]
    colours: bool = False

    def __post_init__(self) -> None:
        if len(self.classes) < 2:
            raise UsageError(f"masks need 2 or more classes, got {', '.join(self.classes) or 'none'}")
        for what, all_of_them in (("class", self.classes), ("value", [code for code, _ in self.codes])):
            twice = [one for one in set(all_of_them) if list(all_of_them).count(one) > 1]
            if twice:
                raise UsageError(f"the {what} {_shown(twice[0], self.colours)} stands twice")

    @classmethod
    def of(cls, rows: Iterable[tuple[str, Code]]) -> "Table":
        """Classes in the order of rows; the names ignore and void are of what counts for nothing.

        Raises UsageError for fewer than two classes, for a name or value that stands twice, and for values
        and colours in one table.
        """
        classes: list[str] = []
        codes = []
        kinds = set()
        for name, code in rows:
            kinds.add(isinstance(code, tuple))
            numbers = code if isinstance(code, tuple) else (code,)
            most = 255 if isinstance(code, tuple) else RED - 1
            whole = all(isinstance(n, int) and 0 <= n <= most for n in numbers)
            if len(numbers) not in (1, 3) or not whole:
                raise UsageError(f"class {name!r} has {code}; expected a value 0 to {RED - 1} or r, g, b")
            left_out = name.lower() in LEFT_OUT
            codes.append((_coded(code), NOTHING if left_out else len(classes)))
            classes += [] if left_out else [name]
        if len(kinds) > 1:
            raise UsageError("some classes have a value and some a colour; give all of them the same")
        return cls(tuple(classes), tuple(codes), kinds == {True})

    def codes_of(self, raster: Raster) -> NDArray[np.int64]:
        """What of a mask is looked up. Shape: -> (H, W)"""
        return raster.as_colours() if self.colours else raster.codes

    def classes_of(self, raster: Raster) -> Tensor:
        """The class of each pixel; call after ``complaint`` of its counts. Shape: -> (H, W) int16"""
        codes = self.codes_of(raster)
        known, numbers = self._sorted
        place = np.searchsorted(known, codes).clip(max=len(known) - 1)
        if (known[place] != codes).any():
            raise ValueError(self.complaint(counted(codes)))
        return torch.from_numpy(numbers[place])

    def counts_of(self, counts: Mapping[int, int]) -> list[int]:
        """Pixels of each class, from those of each code that the table has."""
        of_class = dict(self.codes)
        pixels = [0] * len(self.classes)
        for code, n in counts.items():
            if (k := of_class.get(code, NOTHING)) != NOTHING:
                pixels[k] += n
        return pixels

    def complaint(self, counts: Mapping[int, int]) -> str:
        """What is wrong with pixels of these codes; nothing if the table has all of them."""
        known = [code for code, _ in self.codes]
        strange = sorted(counts.keys() - set(known))
        if not strange:
            return ""
        pixels = sum(counts[code] for code in strange)
        share = pixels / sum(counts.values())
        text = f"has {amount(pixels, 'pixel')} ({share:.1%}) of {listed(strange, self.colours)}"
        more = ""
        if strange == [IGNORED] and not self.colours:
            more = (
                "; it is black and white: save it with a value for each class, or give the classes 0 and 255"
                if counts.keys() <= {0, 255}
                else "; a row ignore,255 in the table of classes leaves these pixels out"
            )
        return f"{text}, but the classes have {listed(sorted(known), self.colours)}{more}"

    @cached_property
    def _sorted(self) -> tuple[NDArray[np.int64], NDArray[np.int16]]:
        pairs = sorted(self.codes)
        return np.array([code for code, _ in pairs]), np.array([k for _, k in pairs], np.int16)


def _coded(code: Code) -> int:
    return code if isinstance(code, int) else RED * code[0] + GREEN * code[1] + code[2]


def _shown(code: object, colours: bool) -> str:
    if not colours or not isinstance(code, int):
        return repr(code) if isinstance(code, str) else str(code)
    return f"({code // RED}, {code // GREEN % 256}, {code % 256})"


def counted(codes: NDArray[np.int64]) -> dict[int, int]:
    """Code -> pixels. Shape: (H, W) -> ..."""
    if int(codes.max(initial=0)) < RED:
        counts = np.bincount(codes.ravel())
        return {int(code): int(counts[code]) for code in np.flatnonzero(counts)}
    found, numbers = np.unique(codes, return_counts=True)
    return dict(zip(found.tolist(), numbers.tolist(), strict=True))


def listed(codes: Sequence[int], colours: bool) -> str:
    """``0, 1 and 255``; of many the first five."""
    shown = [_shown(code, colours) for code in codes[:5]]
    if len(codes) > 5:
        return f"{', '.join(shown)} and {len(codes) - 5} more"
    return " and ".join([", ".join(shown[:-1]), shown[-1]] if len(shown) > 1 else shown)

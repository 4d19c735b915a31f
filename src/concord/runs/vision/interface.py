"""What goes into the members of a run of masks or boxes, and what comes out."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from math import inf
from typing import Any

from concord.data.normalise import Normalise
from concord.data.segmentation.table import Table
from concord.errors import CheckpointError, UsageError
from concord.runs.folder import RunFolder
from concord.runs.interface import plain_of
from concord.runs.vision.settings import DETECT, TASKS

KEYS = ("kind", "task", "shape", "classes", "mean", "std")  # of interface.json
MOST_CLASSES, MOST_SIDE = 65_536, 65_536
Anchors = tuple[tuple[float, float], ...]  # width and height in pixels of the input


@dataclass(frozen=True)
class VisionInterface:
    """Pixels of so many channels, how they are normalised, and the classes.

    ``table``: which values of masks are which class. ``canvas``: height and width of the pictures that boxes
    are found in; masks are found in any size.
    ``anchors`` replace those that the networks start with; () leaves these.
    """

    task: str
    channels: int
    classes: tuple[str, ...]
    normalise: Normalise
    table: Table | None = None
    canvas: tuple[int, int] | None = None
    anchors: Anchors = ()

    def plain(self) -> dict[str, Any]:
        """What interface.json holds, in the types that JSON has."""
        height, width = self.canvas or ("H", "W")
        return {
            "kind": "images",
            "task": self.task,
            "shape": [self.channels, height, width],
            "classes": list(self.classes),
            **{key: list(row) for key, row in asdict(self.normalise).items()},
            "anchors": [list(pair) for pair in self.anchors],
            "masks": self.table
            and {"codes": [list(pair) for pair in self.table.codes], "colours": self.table.colours},
        }

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> "VisionInterface":
        """The interface that ``plain`` wrote down; CheckpointError if it is not one."""
        try:
            channels, *sides = plain["shape"]
            classes, task = plain["classes"], plain["task"]
            if not isinstance(classes, list) or not all(isinstance(name, str) for name in classes):
                raise TypeError("classes are a list of texts")
            normalise = Normalise(*(tuple(map(float, plain[key])) for key in ("mean", "std")))
            anchors = tuple((float(w), float(h)) for w, h in plain["anchors"])
            table = plain["masks"] and _table(tuple(classes), plain["masks"])
            found = cls(task, channels, tuple(classes), normalise, table, _canvas(sides), anchors)
            if not found._sound():
                raise ValueError("sizes, names and task do not fit together")
        except (KeyError, TypeError, ValueError, OverflowError, UsageError) as error:
            raise CheckpointError(f"interface.json is damaged ({error})") from None
        return found

    def _sound(self) -> bool:
        """Whether all parts are ones that a run can have."""
        numbers = [
            *self.normalise.mean,
            *self.normalise.std,
            *(side for pair in self.anchors for side in pair),
        ]
        return (
            self.task in TASKS
            and self.channels in (1, 3)
            and {len(self.normalise.mean), len(self.normalise.std)} == {self.channels}
            and 0 < len(self.classes) == len({*self.classes}) <= MOST_CLASSES
            and (self.canvas is not None) == (self.task == DETECT) == (self.table is None)
            and all(abs(number) < inf for number in numbers)
            and all(number > 0 for number in numbers[self.channels :])
        )


def _canvas(sides: list[Any]) -> tuple[int, int] | None:
    """Height and width, None where both are free; ValueError for others."""
    if sides == ["H", "W"]:
        return None
    height, width = sides
    if not all(type(side) is int and 0 < side <= MOST_SIDE for side in sides):
        raise ValueError("height and width are whole numbers above 0, or free")
    return height, width


def _table(classes: tuple[str, ...], plain: Mapping[str, Any]) -> Table:
    """Which values of masks are which class; ValueError or TypeError for others."""
    codes = tuple((code, number) for code, number in plain["codes"])
    if type(plain["colours"]) is not bool or not all(type(n) is int for pair in codes for n in pair):
        raise TypeError("codes of masks are pairs of whole numbers")
    if not all(code >= 0 and -1 <= number < len(classes) for code, number in codes):
        raise ValueError("codes of masks are those of the classes")
    return Table(classes, codes, plain["colours"])


def interface_of(folder: RunFolder, state: Mapping[str, Any], warn: Callable[[str], None]) -> VisionInterface:
    """The interface of a run; ``warn`` hears of a copy of it that is missing or differs."""
    return VisionInterface.from_plain(plain_of(folder, state, KEYS, warn))

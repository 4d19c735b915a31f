"""What goes into the members of a run and what comes out."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from concord.data.batches import Normalise
from concord.data.splits import Splits
from concord.errors import CheckpointError, DataError

INTERFACE = ("shape", "classes", "mean", "std")  # keys of interface.json


@dataclass(frozen=True)
class Interface:
    """What goes into the members of a run and what comes out: (C, H, W) pixels of 0..255, class names."""

    shape: tuple[int, int, int]
    classes: tuple[str, ...]
    normalise: Normalise

    @classmethod
    def of(cls, splits: Splits) -> "Interface":
        c, h, w = splits.train.pixels.shape[1:]
        return cls((c, h, w), splits.train.classes, Normalise.of(splits.train))

    def plain(self) -> dict[str, Any]:
        return {"shape": self.shape, "classes": self.classes, **asdict(self.normalise)}

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> "Interface":
        """The interface that ``plain`` wrote down; CheckpointError if it is not one."""
        try:
            c, h, w = map(int, plain["shape"])
            normalise = Normalise(tuple(map(float, plain["mean"])), tuple(map(float, plain["std"])))
            classes = tuple(map(str, plain["classes"]))
        except (KeyError, TypeError, ValueError) as error:
            raise CheckpointError(f"interface.json is damaged ({error})") from None
        return cls((c, h, w), classes, normalise)


def check_same(interface: Interface, splits: Splits, source: str) -> None:
    """DataError when data differs by the names of its classes or the shape of its images."""
    if splits.test.classes != interface.classes:
        raise DataError(
            f"{source} has the classes {', '.join(splits.test.classes)}, the run was trained on"
            f" {', '.join(interface.classes)}"
        )
    shape = tuple(splits.test.pixels.shape[1:])
    if shape != interface.shape:
        raise DataError(f"{source} has images of {shape}, the run takes {interface.shape}")

"""Images with what gives the class of each of their pixels, before anything is decoded."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from concord.data.segmentation import raster
from concord.data.segmentation.raster import Raster
from concord.files.text import printable


@dataclass(frozen=True)
class Place:
    """A file, or one frame of it."""

    path: Path
    frame: int | None = None

    def __str__(self) -> str:
        return printable(self.path if self.frame is None else f"{self.path}[{self.frame}]")


class Truth(Protocol):
    """What gives the classes of an image; its text names it in messages."""

    def read(self, largest: float) -> Raster:
        """The mask, within ``decode.quiet``; DataError that names the file."""
        ...


@dataclass(frozen=True)
class MaskFile:
    """A mask that is an image file or a frame of a stack."""

    place: Place

    def __str__(self) -> str:
        return str(self.place)

    def read(self, largest: float) -> Raster:
        return raster.read(self.place.path, self.place.frame or 0, largest)


@dataclass(frozen=True)
class Pair:
    """A sample: its name is the path below the folder of images without suffix, or the number of a frame."""

    name: str
    image: Place
    truth: Truth


@dataclass(frozen=True)
class Found:
    """The parts of a source, "" for one that is still to be cut, and the faults of their files."""

    parts: Mapping[str, Sequence[Pair]]
    bad: tuple[tuple[str, str], ...] = ()  # (file, what is wrong with it)
    notices: tuple[str, ...] = ()
    classes: Sequence[str] = field(default=())  # of a source that names them itself, 0, 1, ... in its masks

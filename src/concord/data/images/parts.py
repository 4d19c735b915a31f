"""What a reader found: the parts of a data set as they lie on disk, and everything wrong with them.

A reader goes on after a fault and collects it. Whether faults end the job is decided by who asked:
``load`` refuses, ``check`` reports.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from concord.data.images.images import Images
from concord.errors import DataError
from concord.files.text import printable

REPLACE = "Remove or replace them"
SKIP = "Leave them out with --set data.bad_images=skip, or remove or replace them"
SHOWN = 10  # files that a message names
CALLED = {"train": "training", "valid": "validation", "test": "test"}


@dataclass(frozen=True)
class Bad:
    """A file that cannot be used, and why."""

    name: str
    reason: str


@dataclass(frozen=True, eq=False)
class Parts:
    """``valid`` and ``test`` are None where the source has no such part of its own."""

    kind: str
    train: Images | None
    valid: Images | None = None
    test: Images | None = None
    notices: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()  # faults of the set as a whole
    bad: tuple[Bad, ...] = ()  # faults of single files
    sizes: Mapping[str, int] = field(default_factory=dict)  # '32x48' (width x height as stored) -> files

    def present(self) -> Iterator[tuple[str, Images]]:
        """The parts that there are, with their names, train first."""
        for name, images in (("train", self.train), ("valid", self.valid), ("test", self.test)):
            if images is not None:
                yield name, images


def unusable(source: str, bad: Sequence[Bad], most: int = SHOWN) -> str:
    """That these files cannot be used and why, as every verb says it."""
    return f"{len(bad):,} of the images in {printable(source)} cannot be used:\n{listed(bad, most)}"


def listed(bad: Sequence[Bad], most: int = SHOWN) -> str:
    """Each file on a line with its reason; beyond ``most``, how many more there are."""
    lines = [f"  {printable(b.name)}: {printable(b.reason)}" for b in bad[:most]]
    return "\n".join(lines + [f"  and {len(bad) - most:,} more"] * (len(bad) > most))


def attempt(problems: list[str], read: Callable[[], Images]) -> Images | None:
    """What ``read`` gives; its DataError goes to ``problems`` and gives None."""
    try:
        return read()
    except DataError as error:
        problems.append(str(error))
        return None


def stored_sizes(*parts: Images | None) -> dict[str, int]:
    """The size histogram of parts that hold one size each."""
    sizes: dict[str, int] = {}
    for images in parts:
        if images is not None:
            name = f"{images.shape[2]}x{images.shape[1]}"
            sizes[name] = sizes.get(name, 0) + len(images)
    return sizes

"""What goes into the members of a run and what comes out."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from concord.data.images.resize import Resize
from concord.data.normalise import Normalise
from concord.data.splits import Splits
from concord.errors import CheckpointError, DataError
from concord.runs.folder import RunFolder

LARGEST = 150_000_000  # numbers of one image, 50 million pixels of three channels
INTERFACE = ("shape", "classes", "mean", "std")  # keys of interface.json


@dataclass(frozen=True)
class Interface:
    """What goes into the members of a run and what comes out: (C, H, W) pixels of 0..255, class names."""

    shape: tuple[int, int, int]
    classes: tuple[str, ...]
    normalise: Normalise
    resize: Resize | None = None  # how a picture of any size gets to that shape; older runs do not say it

    @classmethod
    def of(cls, splits: Splits) -> "Interface":
        _, height, width = splits.train.shape
        return cls(
            splits.train.shape, splits.train.classes, Normalise.of(splits.train), Resize((height, width))
        )

    def plain(self) -> dict[str, Any]:
        """What interface.json holds, in the types that JSON has."""
        plain = {"shape": self.shape, "classes": self.classes, **asdict(self.normalise)}
        lists: dict[str, Any] = {key: list(values) for key, values in plain.items()}
        return lists if self.resize is None else lists | {"resize": self.resize.plain()}

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> "Interface":
        """The interface that ``plain`` wrote down; CheckpointError if it is not one."""
        try:
            c, h, w = map(int, plain["shape"])
            normalise = Normalise(tuple(map(float, plain["mean"])), tuple(map(float, plain["std"])))
            classes = tuple(map(str, plain["classes"]))
            resize = Resize((h, w)) if "resize" in plain else None
            if resize is not None and resize.plain() != plain["resize"]:
                raise ValueError(f"resize is {plain['resize']}, this version does {resize.plain()}")
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise CheckpointError(f"interface.json is damaged ({error})") from None
        sizes = {len(normalise.mean), len(normalise.std), c}
        if len(sizes) > 1 or min(c, h, w, len(classes)) < 1 or not all(s > 0 for s in normalise.std):
            raise CheckpointError(
                f"interface.json is damaged: images of {c}x{h}x{w} need {c} means and {c} standard deviations"
                f" above 0, got {plain['mean']} and {plain['std']}, and {len(classes)} class names"
            )
        if c * h * w > LARGEST:
            raise CheckpointError(f"interface.json is damaged: {c}x{h}x{w} are more than {LARGEST:,} numbers")
        return cls((c, h, w), classes, normalise, resize)


def interface_of(folder: RunFolder, state: Mapping[str, Any], warn: Callable[[str], None]) -> Interface:
    """The interface of a run, see ``plain_of``."""
    return Interface.from_plain(plain_of(folder, state, INTERFACE, warn))


def plain_of(
    folder: RunFolder, state: Mapping[str, Any], keys: Sequence[str], warn: Callable[[str], None]
) -> Mapping[str, Any]:
    """The interface under a checkpoint's manifest, which notices damage; interface.json is a copy of it.

    ``warn`` hears of a copy that is missing or differs. Checkpoints of older versions have the file only.
    """
    if "interface" not in state:
        return folder.json("interface.json", keys)
    kept: Mapping[str, Any] = state["interface"]
    try:
        same = folder.json("interface.json") == kept
    except CheckpointError:
        same = False
    if not same:
        file = folder.path / "interface.json"
        warn(f"{file} is not as the run was made with; what the checkpoint says is used")
    return kept


def check_same(interface: Interface, splits: Splits, source: str) -> None:
    """DataError when data differs by the names of its classes or the shape of its images."""
    if splits.test.classes != interface.classes:
        raise DataError(
            f"{source} has the classes {', '.join(splits.test.classes)}, the run was trained on"
            f" {', '.join(interface.classes)}"
        )
    if splits.test.shape != interface.shape:
        raise DataError(f"{source} has images of {splits.test.shape}, the run takes {interface.shape}")

"""What goes into the members of a run on sequences, and what comes out."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from concord.data.sequences.files import Known, Listed
from concord.data.sequences.load import Parts, SequenceTask
from concord.data.sequences.samples import Scale, Sequences
from concord.errors import CheckpointError, DataError, amount
from concord.runs.folder import RunFolder
from concord.runs.interface import plain_of
from concord.runs.sequences.settings import TASKS

KEYS = ("kind", "task", "alphabet", "features", "lengths", "classes")  # of interface.json
MOST = 1_114_112  # characters that there are
MOST_FEATURES = 1_000_000


@dataclass(frozen=True)
class SequenceInterface:
    """Symbols of an alphabet or numbers (T, D), and the classes; the blank of ctc is not among them.

    ``lengths``: members are called with them too; windows of a text are all as long as each other.
    """

    task: SequenceTask
    known: Known
    features: int  # of each step; 0 where steps are symbols
    lengths: bool
    scale: Scale | None = None

    @classmethod
    def of(cls, parts: Parts, task: SequenceTask) -> "SequenceInterface":
        features = len(parts.scale.mean) if parts.scale else 0
        return cls(task, parts.known, features, isinstance(parts.train, Sequences), parts.scale)

    @property
    def inputs(self) -> int:
        """Channels of a network: symbols, or numbers of a step."""
        return self.features or len(self.known.alphabet)

    @property
    def outputs(self) -> int:
        """Logits of a network, with the blank of temporal classification."""
        return len(self.known.classes) + (self.task == "ctc")

    def plain(self) -> dict[str, Any]:
        """What interface.json holds, in the types that JSON has."""
        plain = {
            "kind": "sequences",
            "task": self.task,
            "alphabet": list(self.known.alphabet),
            "features": self.features,
            "lengths": self.lengths,
            "classes": list(self.known.classes),
        }
        scale = self.scale
        return plain if scale is None else plain | {"mean": list(scale.mean), "std": list(scale.std)}

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> "SequenceInterface":
        """The interface that ``plain`` wrote down; CheckpointError if it is not one."""
        try:
            lists = [plain["alphabet"], plain["classes"]]
            if not all(isinstance(row, list) and all(isinstance(x, str) for x in row) for row in lists):
                raise TypeError("alphabet and classes are lists of texts")
            features, task, lengths = plain["features"], plain["task"], plain["lengths"]
            scale = None
            if features:
                scale = Scale(tuple(map(float, plain["mean"])), tuple(map(float, plain["std"])))
            alphabet, classes = map(tuple, lists)
            sizes = {features, *(map(len, (scale.mean, scale.std)) if scale else ())}
            sound = type(features) is int and 0 <= features <= MOST_FEATURES and len(sizes) == 1
            sound = (
                sound
                and isinstance(lengths, bool)
                and task in TASKS
                and 0 < len(classes) <= MOST
                and bool(alphabet) != bool(features)
            )
            if not sound or len({*alphabet}) != len(alphabet) or len({*classes}) != len(classes):
                raise ValueError("sizes, names and task do not fit together")
            if scale is not None and not all(std > 0 for std in scale.std):
                raise ValueError("a standard deviation is not above 0")
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise CheckpointError(f"interface.json is damaged ({error})") from None
        return cls(task, Known(alphabet, classes), features, lengths, scale)


def interface_of(
    folder: RunFolder, state: Mapping[str, Any], warn: Callable[[str], None]
) -> SequenceInterface:
    """The interface of a run; ``warn`` hears of a copy of it that is missing or differs."""
    return SequenceInterface.from_plain(plain_of(folder, state, KEYS, warn))


def readable(listed: Listed, interface: SequenceInterface) -> Sequences:
    """Sequences as members of a run take them; DataError for another number of numbers at each step."""
    x = listed.problem.x
    features = x.shape[2] if x.ndim == 3 else 0
    if features != interface.features:
        wanted = f"{amount(interface.features, 'number')} at each step, as the run was trained on"
        raise DataError(f"{listed.names[0]}: expected {wanted}, got {features}")
    return Sequences(listed, interface.task == "ctc", interface.scale)

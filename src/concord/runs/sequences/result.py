"""The final figures of a run on sequences, as records and as the document of result.json."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from concord.cost.record import Cost
from concord.files.documents import Document
from concord.runs.result import errors_text
from concord.tasks.ctc import LabelFigures, LabelScores
from concord.tasks.steps import StepFigures, StepScores

StepsOrLabels = StepScores | LabelScores


@dataclass(frozen=True)
class SequenceFigures:
    """Test figures of one member or of the ensemble: shares of steps or of labels, nats, bits."""

    test_error: float
    valid_error: float | None
    nll: float  # per step; of temporal classification per sequence
    sequence_error: float  # sequences that are wrong somewhere
    bits: float | None = None  # per step, of a text per character; None of temporal classification
    parameters: int | None = None  # None of the ensemble
    macs: int | None = None  # of one sequence of so many steps as ``Spent.steps`` says


@dataclass(frozen=True)
class Spent:
    """What a training took, and where its weights are."""

    run: str
    seconds: float
    samples_per_second: float
    epochs: int
    checkpoint: str
    fingerprint: str
    steps: int  # of the sequence that ``macs`` are of


@dataclass(frozen=True, eq=False)
class SequenceResult(Document):
    """What a finished run stands for; as a mapping it is the document of result.json."""

    members: Mapping[str, SequenceFigures]
    ensemble: SequenceFigures
    agreement: float | None  # share of steps on which all members agree
    spent: Spent
    notices: tuple[str, ...]

    def summary(self) -> str:
        """The figures in a line."""
        return errors_text(self.members, self.ensemble)

    def to_dict(self) -> dict[str, Any]:
        """The document of result.json."""
        members = {name: _plain(row) for name, row in self.members.items()}
        head = {"members": members, "ensemble": _plain(self.ensemble), "agreement": self.agreement}
        return {**head, **asdict(self.spent), "notices": list(self.notices)}

    @classmethod
    def read(cls, plain: Mapping[str, Any]) -> "SequenceResult":
        """The result that a document describes; KeyError or TypeError if it lacks something."""
        members = {name: SequenceFigures(**row) for name, row in plain["members"].items()}
        spent = Spent(**{key: plain[key] for key in Spent.__dataclass_fields__})
        ensemble = SequenceFigures(**plain["ensemble"])
        return cls(members, ensemble, plain.get("agreement"), spent, tuple(plain["notices"]))


def _plain(row: SequenceFigures) -> dict[str, Any]:
    """Without the figures that its task does not have."""
    return {key: value for key, value in asdict(row).items() if value is not None or key == "valid_error"}


def result_of(
    test: StepsOrLabels,
    valid: StepsOrLabels | None,
    costs: Mapping[str, Cost],
    spent: Spent,
    notices: tuple[str, ...],
) -> SequenceResult:
    """The figures of the test set beside the error of the validation set and what each member costs."""
    members = {
        name: _figures(row, valid.members[name] if valid else None, costs[name])
        for name, row in test.members.items()
    }
    ensemble = _figures(test.ensemble, valid.ensemble if valid else None, None)
    agreement = test.agreement if isinstance(test, StepScores) else None
    return SequenceResult(members, ensemble, agreement, spent, notices)


def _figures(
    test: StepFigures | LabelFigures, valid: StepFigures | LabelFigures | None, cost: Cost | None
) -> SequenceFigures:
    return SequenceFigures(
        test.error,
        None if valid is None else valid.error,
        test.nll,
        test.sequence_error,
        test.bits if isinstance(test, StepFigures) else None,
        None if cost is None else cost.parameters,
        None if cost is None else cost.macs,
    )

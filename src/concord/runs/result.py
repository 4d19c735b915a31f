"""The final figures of a run, as records and as the document of result.json."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Protocol

from concord.consensus.names import ENSEMBLE
from concord.cost.record import Cost
from concord.files.documents import Document
from concord.runs.uncertainty import KEY, Uncertainty
from concord.tasks.classify import ClassScores, Figures


@dataclass(frozen=True)
class EnsembleResult:
    """Test figures of the mean of logits; ``probabilities`` are those of the mean of probabilities."""

    test_error: float
    valid_error: float | None
    nll: float
    ece: float
    balanced_accuracy: float
    probabilities: Figures


@dataclass(frozen=True)
class MemberResult:
    """Test figures of one member, and what it costs."""

    test_error: float
    valid_error: float | None
    nll: float
    ece: float
    balanced_accuracy: float
    parameters: int
    macs: int | None  # None where they could not be counted


@dataclass(frozen=True)
class Diversity:
    """How members differ on the test set: shares of samples, and correlations of their mistakes."""

    agreement: float | None
    disagreement: list[list[float]] | None
    error_correlation: list[list[float | None]] | None


class Erring(Protocol):
    """A row with an error on the test set."""

    @property
    def test_error(self) -> float: ...


def errors_text(members: Mapping[str, Erring], ensemble: Erring) -> str:
    """``test error st 3.10 %, ensemble 2.80 %``"""
    errors = {name: row.test_error for name, row in members.items()} | {ENSEMBLE: ensemble.test_error}
    return "test error " + ", ".join(f"{name} {100 * error:.2f} %" for name, error in errors.items())


@dataclass(frozen=True, eq=False)
class Result(Document):
    """What a finished run stands for; as a mapping it is the document of result.json."""

    members: Mapping[str, MemberResult]
    ensemble: EnsembleResult
    diversity: Diversity
    run: str
    seconds: float
    samples_per_second: float
    epochs: int
    checkpoint: str
    fingerprint: str
    notices: tuple[str, ...]
    uncertainty: Uncertainty | None = None  # None without a validation part

    def summary(self) -> str:
        """The figures in a line."""
        return errors_text(self.members, self.ensemble)

    def to_dict(self) -> dict[str, Any]:
        """The document of result.json."""
        plain = asdict(self)
        diversity = plain.pop("diversity")
        head = {"members": plain.pop("members"), "ensemble": plain.pop("ensemble")}
        own = {"notices": list(self.notices), KEY: self.uncertainty and self.uncertainty.to_dict()}
        return {**head, **diversity, **plain, **own}

    @classmethod
    def read(cls, plain: Mapping[str, Any], run: str) -> "Result":
        """The result that a document describes; KeyError or TypeError if it lacks something."""
        members = {name: MemberResult(**_own(MemberResult, row)) for name, row in plain["members"].items()}
        ensemble = _own(EnsembleResult, plain["ensemble"])
        ensemble["probabilities"] = Figures(**ensemble["probabilities"])
        diversity = Diversity(**{key: plain.get(key) for key in Diversity.__dataclass_fields__})
        rest = {key: plain[key] for key in ("seconds", "samples_per_second", "epochs", "checkpoint")}
        return cls(
            members=members,
            ensemble=EnsembleResult(**ensemble),
            diversity=diversity,
            run=run,
            fingerprint=plain["fingerprint"],
            notices=tuple(plain["notices"]),
            uncertainty=Uncertainty.within(plain),
            **rest,
        )


def _own(record: type, row: Mapping[str, Any]) -> dict[str, Any]:
    return {key: row[key] for key in record.__dataclass_fields__}  # type: ignore[attr-defined]


def members_of(
    test: ClassScores, valid: ClassScores | None, spent: Mapping[str, Cost]
) -> dict[str, MemberResult]:
    """Test figures of every member, beside its validation error and its cost."""
    return {
        name: MemberResult(
            figures.error,
            valid.members[name].error if valid else None,
            figures.nll,
            figures.ece,
            figures.balanced_accuracy,
            spent[name].parameters,
            spent[name].macs,
        )
        for name, figures in test.members.items()
    }


def ensemble_of(test: ClassScores, valid: ClassScores | None) -> EnsembleResult:
    """Test figures of the ensemble, beside its validation error."""
    own, probabilities = test.ensemble, test.ensemble_probabilities
    assert probabilities is not None
    error = valid.ensemble.error if valid else None
    return EnsembleResult(own.error, error, own.nll, own.ece, own.balanced_accuracy, probabilities)


def diversity_of(test: ClassScores) -> Diversity:
    return Diversity(test.agreement, test.disagreement, test.error_correlation)

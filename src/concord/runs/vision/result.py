"""The final figures of a run of masks or boxes, as a record and as the document of result.json."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Generic

from concord.cost.record import Cost
from concord.files.documents import Document
from concord.tasks.task import S


@dataclass(frozen=True)
class Spent:
    """What a run is of, what its training took, and where its weights are."""

    task: str
    classes: tuple[str, ...]
    run: str
    seconds: float
    samples_per_second: float
    epochs: int
    checkpoint: str
    fingerprint: str
    size: tuple[int, int]  # height and width of the image that ``macs`` are of


@dataclass(frozen=True)
class Price:
    """What a member costs."""

    parameters: int
    macs: int | None  # None where they could not be counted

    @classmethod
    def of(cls, cost: Cost) -> "Price":
        return cls(cost.parameters, cost.macs)


@dataclass(frozen=True, eq=False)
class VisionResult(Document, Generic[S]):
    """What a finished run stands for; as a mapping it is the document of result.json.

    A row of a member has the figures of the test part, those of the validation part under "valid", and what
    the member costs.
    """

    test: S
    valid: S | None
    prices: Mapping[str, Price]
    spent: Spent
    notices: tuple[str, ...]

    @property
    def members(self) -> Mapping[str, Any]:
        """The figures of the test part of every member."""
        return self.test.members

    @property
    def ensemble(self) -> Any:
        """Those of the ensemble."""
        return self.test.ensemble

    def summary(self) -> str:
        """The figures in a line."""
        return f"test {self.test!r}"

    def to_dict(self) -> dict[str, Any]:
        """The document of result.json."""
        plain = self.test.to_dict()
        valid = None if self.valid is None else self.valid.to_dict()
        for name, row in plain["members"].items():
            row |= {"valid": valid and valid["members"][name], **asdict(self.prices[name])}
        plain["ensemble"] |= {"valid": valid and valid["ensemble"]}
        spent = {key: list(v) if isinstance(v, tuple) else v for key, v in asdict(self.spent).items()}
        return {**plain, **spent, "notices": list(self.notices)}

    @classmethod
    def read(cls, plain: Mapping[str, Any], scores: Callable[[Mapping[str, Any]], S]) -> "VisionResult[S]":
        """The result that a document describes, whose figures ``scores`` reads.

        KeyError, TypeError or ValueError if it lacks something.
        """
        rows = plain["members"]
        prices = {name: Price(row["parameters"], row["macs"]) for name, row in rows.items()}
        spent = {key: plain[key] for key in Spent.__dataclass_fields__}
        (height, width), classes = spent.pop("size"), tuple(spent.pop("classes"))
        return cls(
            scores(plain),
            None if plain["ensemble"]["valid"] is None else scores(_valid(plain)),
            prices,
            Spent(**spent, classes=classes, size=(height, width)),
            tuple(plain["notices"]),
        )


def _valid(plain: Mapping[str, Any]) -> dict[str, Any]:
    """The document of the scores of the validation part."""
    members = {name: row["valid"] for name, row in plain["members"].items()}
    return {**plain, "members": members, "ensemble": plain["ensemble"]["valid"]}

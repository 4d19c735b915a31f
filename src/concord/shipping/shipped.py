"""What a search gives: the network, how good it is, what it had to beat, and how it was found."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from concord.files.documents import Document
from concord.shipping.asked import HOUR, Asked
from concord.shipping.confidence import Confidence
from concord.shipping.limits import Needs, shown
from concord.shipping.plan import Plan
from concord.shipping.tested import Against, Tested, against, best


@dataclass(frozen=True)
class Int8:
    """The same network in 8 bits, and whether it is shipped; figures are None where no file could be made."""

    shipped: bool
    reason: str
    tested: Tested | None = None
    loss: Against | None = None  # its error minus that of the float file
    bytes: int | None = None
    milliseconds: float | None = None

    def to_dict(self) -> dict[str, Any]:
        tested = {} if self.tested is None else self.tested.to_dict()
        return {
            "shipped": self.shipped,
            "reason": self.reason,
            "test_error": tested.get("test_error"),
            "low": tested.get("low"),
            "high": tested.get("high"),
            "loss": None if self.loss is None else _difference(self.loss),
            "bytes": self.bytes,
            "milliseconds": self.milliseconds,
        }


@dataclass(frozen=True, eq=False)
class Shipped(Document):
    """The end of a search; as a mapping it is the document of results.json."""

    folder: str
    asked: Asked
    network: str
    way: str
    about: str  # the way in words
    epochs: int
    needs: Needs
    tested: Tested
    rivals: tuple[Tested, ...]
    int8: Int8
    confidence: Confidence | None  # None where there was nothing to find it on
    plan: Plan
    decisions: Sequence[Mapping[str, Any]]
    seconds: float
    files: tuple[str, ...]
    notices: tuple[str, ...]

    @property
    def pairs(self) -> tuple[Against, ...]:
        """The error of the network minus that of each rival, on the same images."""
        return tuple(against(self.tested, rival) for rival in self.rivals)

    @property
    def verdict(self) -> str:
        """``better``, ``worse`` or ``open``: against the best of the rivals."""
        pair = against(self.tested, best(self.rivals))
        return "open" if not pair.proven else "better" if pair.high < 0 else "worse"

    def sentence(self) -> str:
        """What was found, and how sure that is."""
        row, rival = self.tested.to_dict(), best(self.rivals)
        pair = against(self.tested, rival)
        other = f"the best of its rivals, {rival.about} ({_percent(rival.error)})"
        if self.verdict == "open":
            compared = (
                f"a difference from {other} is not proven: {_signed(pair.difference)} points"
                f" (95 % interval {_signed(pair.low)} to {_signed(pair.high)})"
            )
        else:
            low, high = sorted(100 * abs(end) for end in (pair.low, pair.high))
            compared = (
                f"it is {self.verdict} than {other}, by {100 * abs(pair.difference):.2f} points"
                f" (95 % interval {low:.2f} to {high:.2f})"
            )
        return (
            f"{self.network} with {shown('parameters', self.needs.parameters)}, {self.about}, has a test"
            f" error of {_percent(row['test_error'])} on {len(self.tested.wrong):,} images"
            f" (95 % Wilson interval {_percent(row['low'])} to {_percent(row['high'])}); {compared}."
        )

    def to_dict(self) -> dict[str, Any]:
        plain = self.asked.plain()
        return {
            "sentence": self.sentence(),
            "folder": self.folder,
            "data": plain["data"]["source"],
            "limits": plain["limits"],
            "network": self.network,
            "way": self.way,
            "epochs": self.epochs,
            **asdict(self.needs),
            "test": {**self.tested.to_dict(), "images": len(self.tested.wrong), "interval": "Wilson, 95 %"},
            "rivals": [
                {**rival.to_dict(), "against": _difference(pair)}
                for rival, pair in zip(self.rivals, self.pairs, strict=True)
            ],
            "verdict": self.verdict,
            "int8": self.int8.to_dict(),
            "uncertainty": self.confidence and self.confidence.to_dict(),
            "decisions": [dict(decision) for decision in self.decisions],
            "plan": self.plan.to_dict(),
            "hours": self.seconds / HOUR,
            "files": list(self.files),
            "notices": list(self.notices),
        }


def _difference(pair: Against) -> dict[str, float]:
    return {"difference": pair.difference, "low": pair.low, "high": pair.high, "p": pair.p}


def _percent(share: float) -> str:
    return f"{100 * share:.2f} %"


def _signed(share: float) -> str:
    return f"{100 * share:+.2f}"

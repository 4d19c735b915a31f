"""What a search is asked for."""

from dataclasses import asdict, dataclass
from typing import Any

from concord.errors import UsageError
from concord.runs.config_data import Data
from concord.shipping.limits import Limits

HOUR = 3600.0
MOST_HOURS = 24 * 365


@dataclass(frozen=True)
class Asked:
    """Data, limits and time. ``teacher``: RUN or RUN:MEMBER, a network of the user's that teaches too."""

    data: Data
    limits: Limits
    hours: float
    teacher: str | None = None

    def __post_init__(self) -> None:
        if not 0 < self.hours <= MOST_HOURS:
            raise UsageError(f"the hours must be a number above 0 and up to {MOST_HOURS:,}, got {self.hours}")

    @property
    def seconds(self) -> float:
        return self.hours * HOUR

    def plain(self) -> dict[str, Any]:
        """The same as plain data, without what was not given."""
        plain = {
            "data": self.data.model_dump(mode="json", exclude_none=True),
            "limits": {name: most for name, most in asdict(self.limits).items() if most is not None},
            "hours": self.hours,
        }
        return plain if self.teacher is None else {**plain, "teacher": self.teacher}

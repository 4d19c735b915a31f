"""The most that a network may need, and which limits it is over."""

from dataclasses import dataclass, fields

from concord.errors import UsageError

UNITS = {"parameters": "parameters", "macs": "MACs", "bytes": "bytes", "milliseconds": "ms"}


@dataclass(frozen=True)
class Needs:
    """What one network needs; ``milliseconds`` is None where nothing was measured."""

    parameters: int
    macs: int  # multiply-accumulates for one image
    bytes: int  # of the ONNX file, or of its numbers alone while there is no file
    milliseconds: float | None = None  # of one image in ONNX Runtime, one thread, the median


@dataclass(frozen=True)
class Limits:
    """The most that a network may need of each; None: as much as it likes.

    UsageError for a limit that is not above 0.
    """

    parameters: int | None = None
    macs: int | None = None
    bytes: int | None = None
    milliseconds: float | None = None

    def __post_init__(self) -> None:
        for name, most in self.given().items():
            if not 0 < most < float("inf"):
                raise UsageError(f"the limit of {UNITS[name]} must be a number above 0, got {most}")

    def given(self) -> dict[str, float]:
        """The limits that there are, by name."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: most for name, most in values.items() if most is not None}

    def over(self, needs: Needs) -> tuple[str, ...]:
        """Names of the limits that this network is over; what was not measured is not over."""
        return tuple(
            name
            for name, most in self.given().items()
            if (need := getattr(needs, name)) is not None and need > most
        )

    @property
    def needs_a_file(self) -> bool:
        """Whether a network has to be exported before it is known to be under all of them."""
        return self.bytes is not None or self.milliseconds is not None

    def __str__(self) -> str:
        """``at most 50,000 parameters and 10,000,000 MACs``"""
        parts = [shown(name, most) for name, most in self.given().items()]
        if not parts:
            return "without limits"
        head = ", ".join(parts[:-1])
        return f"at most {head} and {parts[-1]}" if head else f"at most {parts[-1]}"


def shown(name: str, value: float) -> str:
    """``50,000 parameters``, ``1.5 ms``"""
    number = f"{value:.3g}" if name == "milliseconds" else f"{value:,.0f}"
    return f"{number} {UNITS[name]}"

"""How the weight of the consensus changes over a training; plan.py makes a schedule of it."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from concord.runs.section import Section


class Constant(Section):
    kind: Literal["constant"] = "constant"


class Ramp(Section):
    kind: Literal["linear", "sigmoid", "burn_in"]
    until: Annotated[float, Field(gt=0, le=1)]  # as a fraction of the training


class Cosine(Section):
    kind: Literal["cosine"]
    start: Annotated[float, Field(ge=0)] = 1.0
    end: Annotated[float, Field(ge=0)] = 0.0


class Piecewise(Section):
    kind: Literal["piecewise"]
    points: Annotated[list[Annotated[tuple[float, float], Field(strict=False)]], Field(min_length=1)]

    @model_validator(mode="after")
    def ascending(self) -> "Piecewise":
        starts = [p for p, _ in self.points]
        if starts != sorted(set(starts)) or not all(0 <= p <= 1 and factor >= 0 for p, factor in self.points):
            raise ValueError(
                "points must be [progress, factor] with progress ascending in 0..1 and factor >= 0"
            )
        return self


Ramps = Annotated[Constant | Ramp | Cosine | Piecewise, Field(discriminator="kind")]

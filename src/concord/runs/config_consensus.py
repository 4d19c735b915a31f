"""The [consensus] table: what pulls the predictions of members together. Nothing here imports torch."""

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import AfterValidator, Discriminator, Field, Tag, model_validator

from concord.consensus import names
from concord.consensus.recommended import ONLY, filled
from concord.errors import suggestion
from concord.runs.ramps import Constant, Ramps
from concord.runs.section import Headed

Matrix = list[list[float]]


def _listed(known: Sequence[str]) -> str:
    return ", ".join(f"'{name}'" for name in known)


def known_cost(name: str) -> str:
    if name in names.COSTS or name.startswith(names.OWN):
        return name
    raise ValueError(f"must be one of {_listed(names.COSTS)}{names.nearest_cost(name)}")


def _known_edges(name: str) -> str:
    if name in names.EDGES:
        return name
    raise ValueError(f"must be one of {_listed(names.EDGES)}{suggestion(name, names.EDGES)}")


Cost = Annotated[str, AfterValidator(known_cost)]
Shape = Annotated[str, AfterValidator(_known_edges)]


class Consensus(Headed):
    """What pulls the predictions of members together. Cost "none" is the plain ensemble.

    Without ``weight`` the costs kl and sce_tf1 have the recommended one, 1, rising linearly from 0.
    """

    cost: Cost = Field(default="none", kw_only=False)
    weight: Annotated[float, Field(ge=0)] = 0.0
    temperature: Annotated[float, Field(gt=0, le=1e6)] | None = None  # kl: 1, KDCL: 2
    edges: Annotated[
        Annotated[Shape, Tag("name")] | Annotated[Matrix, Tag("table")],
        Discriminator(lambda given: "name" if isinstance(given, str) else "table"),
    ] = "chain"
    scale: Literal["sum", "mass1", "noel"] = "sum"
    detach: Annotated[
        Annotated[bool, Tag("one")] | Annotated[list[list[bool]], Tag("table")],
        Discriminator(lambda given: "table" if isinstance(given, list) else "one"),
    ] = True
    schedule: Ramps = Constant()

    @model_validator(mode="before")
    @classmethod
    def recommended(cls, given: object) -> object:
        return filled(given, "weight")

    @model_validator(mode="after")
    def weighted(self) -> "Consensus":
        if self.cost != names.NONE and "weight" not in self.model_fields_set:
            raise ValueError(f"give the weight of {self.cost}, for example 0.01; {ONLY}")
        return self

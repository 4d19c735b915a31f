"""The table of a settings file that chooses the optimiser. Nothing here imports torch."""

from typing import Annotated, Literal

from pydantic import Field, PositiveFloat, model_validator

from concord.runs.section import Fraction, Section, Text


class Sgd(Section):
    kind: Literal["sgd"]
    lr: PositiveFloat = 0.1
    momentum: Fraction = 0.9
    nesterov: bool = False
    weight_decay: Annotated[float, Field(ge=0)] = 1e-4
    decay: Literal["kernels", "all"] = "kernels"

    @model_validator(mode="after")
    def nesterov_has_momentum(self) -> "Sgd":
        if self.nesterov and not self.momentum:
            raise ValueError("nesterov looks ahead by the momentum, which is 0: leave nesterov out")
        return self


class Adam(Section):
    kind: Literal["adam", "adamw"] = "adam"
    lr: PositiveFloat = 0.5**10  # of Noel 2017
    betas: Annotated[tuple[Fraction, Fraction], Field(strict=False)] = (0.9, 0.999)
    eps: PositiveFloat = 1e-8
    weight_decay: Annotated[float, Field(ge=0)] = 1e-4
    decay: Literal["kernels", "all"] = "kernels"


class Muon(Section):
    """Muon for the hidden matrices; AdamW, at a rate of its own, for all else."""

    kind: Literal["muon"]
    lr: PositiveFloat = 0.02
    momentum: Fraction = 0.95
    nesterov: bool = True
    weight_decay: Annotated[float, Field(ge=0)] = 0.01
    decay: Literal["kernels", "all"] = "kernels"
    adam_lr: PositiveFloat = 0.5**10
    betas: Annotated[tuple[Fraction, Fraction], Field(strict=False)] = (0.9, 0.999)
    eps: PositiveFloat = 1e-8


class OwnOptimizer(Section):
    """An optimiser that a Python user gave as an object."""

    kind: Literal["python"]
    lr: Annotated[float, Field(ge=0)]
    name: Text

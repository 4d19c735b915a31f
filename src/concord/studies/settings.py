"""The [study] table of a settings file: what is varied. Nothing here imports torch."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from concord.consensus.names import NONE
from concord.runs.config import Cost
from concord.runs.ramps import Cosine, Piecewise, Ramp, Ramps
from concord.runs.section import Section, Text

ALONE = "alone"
SMOOTHING = "smoothing"
DISTIL = "distil"
ONCE = "once"
WIDER = "wider"
Weight = Annotated[float, Field(gt=0)]
Weights = Annotated[list[Weight], Field(min_length=1)]
Share = Annotated[float, Field(gt=0, lt=1)]


def _pulls(cost: str) -> str:
    if cost == NONE:
        raise ValueError('the plain ensemble runs anyway and takes no weights; leave cost = "none" out')
    return cost


class Arm(Section):
    """One cost with the weights to try, and how these change over the training."""

    cost: Annotated[Cost, AfterValidator(_pulls)]
    weights: Weights
    schedule: Ramps | None = None  # default: that of [consensus]

    @property
    def row(self) -> str:
        """What a table calls it: ``l2``, or with a schedule of its own ``l2 burn_in 0.5``."""
        return self.cost if self.schedule is None else f"{self.cost} {_schedule(self.schedule)}"


def _schedule(ramp: Ramps) -> str:
    match ramp:
        case Ramp(kind=kind, until=until):
            return f"{kind} {short(until)}"
        case Cosine(start=start, end=end):
            return f"cosine {short(start)} to {short(end)}"
        case Piecewise(points=points):
            return f"piecewise {' '.join(f'{short(p)}:{short(factor)}' for p, factor in points)}"
        case _:
            return "constant"


class Study(Section):
    """What is varied. The plain ensemble (cost "none") always runs too: it is every row's baseline.

    The rows ``smoothing``, ``distil``, ``once`` and ``wider`` ask what else could have made members better:
    softer labels, a finished teacher instead of a partner, the finished ensemble as teacher, or one large
    network instead of several.
    """

    arms: tuple[Arm, ...] = Field((), strict=False)
    seeds: Annotated[tuple[int, ...], Field(min_length=1, strict=False)] = (0, 1, 2)
    sets: list[list[str]] | None = None  # names of members that train together; default: all of them
    alone: bool = False  # every member by itself too
    # the plain ensemble with so much label smoothing
    smoothing: tuple[Share, ...] = Field((), strict=False)
    # each member taught by the others, which are finished: weights of the cost kl
    distil: tuple[Weight, ...] = Field((), strict=False)
    # all members taught by the finished plain ensemble, themselves among it: weights of the cost kl
    once: tuple[Weight, ...] = Field((), strict=False)
    wider: Text | None = None  # one network instead of all members, such as noel2017_m(filters=17)
    published: Literal["mnist", "notmnist", "cifar10"] | None = None  # figures of Noel 2017 to print beside


def short(weight: float) -> str:
    """0.01, 1; all digits where six do not tell two weights apart."""
    text = f"{weight:g}"
    return text if float(text) == weight else repr(weight)

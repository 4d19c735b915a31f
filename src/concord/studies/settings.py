"""The [study] table of a settings file: what is varied. Nothing here imports torch."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from concord.consensus.names import COSTS, NONE
from concord.consensus.recommended import ONLY, filled
from concord.runs.config import file_name
from concord.runs.config_consensus import Cost
from concord.runs.ramps import Cosine, Piecewise, Ramp, Ramps
from concord.runs.section import Section, Text

ALONE = "alone"
SMOOTHING = "smoothing"
EMA = "ema"
SNAPSHOTS = "snapshots"
DISTIL = "distil"
ONCE = "once"
CHAIN = "chain"
WIDER = "wider"
ROWS = (ALONE, SMOOTHING, EMA, SNAPSHOTS, DISTIL, ONCE, CHAIN, WIDER)
Weight = Annotated[float, Field(gt=0)]
Weights = Annotated[list[Weight], Field(min_length=1)]
Share = Annotated[float, Field(gt=0, lt=1)]


def _pulls(cost: str) -> str:
    if cost == NONE:
        raise ValueError('the plain ensemble runs anyway and takes no weights; leave cost = "none" out')
    return cost


class Arm(Section):
    """One cost with the weights to try, and how these change over the training.

    Without ``weights``, kl and sce_tf1 have the recommended one, and its schedule unless the arm has another.
    """

    cost: Annotated[Cost, AfterValidator(_pulls)]
    weights: Weights = Field([], validate_default=False)
    schedule: Ramps | None = None  # default with weights: that of [consensus]

    @model_validator(mode="before")
    @classmethod
    def recommended(cls, given: object) -> object:
        return filled(given, "weights")

    @model_validator(mode="after")
    def weighted(self) -> "Arm":
        if not self.weights:
            raise ValueError(f"give the weights of {self.cost}, for example 0.1 and 0.01; {ONLY}")
        return self

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


class Chain(Section):
    """Generations of every member, each taught by the finished one before it; the first teacher is that of
    the plain ensemble.

    Source: T. Furlanello, Z. C. Lipton, M. Tschannen, L. Itti, A. Anandkumar, "Born again neural networks",
    ICML 2018, arXiv:1805.04770, section 3.1, with labels and teacher together.
    """

    generations: Annotated[int, Field(ge=1, le=100)]
    weight: Weight = 1.0  # of the cost kl
    weight_decay: Annotated[float, Field(ge=0)] | None = None  # of the generations; default: as trained


def _one_network(networks: dict[str, str]) -> dict[str, str]:
    for name in networks:
        file_name(name)
        if name in (*COSTS, *ROWS):
            raise ValueError(f"{name!r} is the name of another row; call it something else")
    return networks


class Study(Section):
    """What is varied. The plain ensemble (cost "none") always runs too: it is every row's baseline.

    The rows ``smoothing``, ``ema``, ``snapshots``, ``distil``, ``once``, ``chain``, ``wider`` and ``instead``
    ask what else could have made members better: softer labels, averages of weights, ensembles of what they
    were in one training, a finished teacher instead of a partner, the finished ensemble as teacher, the
    member itself as teacher, generation by generation, or one network instead of several.
    """

    arms: tuple[Arm, ...] = Field((), strict=False)
    seeds: Annotated[tuple[int, ...], Field(min_length=1, strict=False)] = (0, 1, 2)
    sets: list[list[str]] | None = None  # names of members that train together; default: all of them
    alone: bool = False  # every member by itself too
    # the plain ensemble with this share of label smoothing
    smoothing: tuple[Share, ...] = Field((), strict=False)
    # the plain ensemble with averages of its weights of this decay
    ema: tuple[Share, ...] = Field((), strict=False)
    # each member as the ensemble of its weights at the ends of this many cosine cycles
    snapshots: tuple[Annotated[int, Field(ge=2, le=1000)], ...] = Field((), strict=False)
    # each member taught by the others, which are finished: weights of the cost kl
    distil: tuple[Weight, ...] = Field((), strict=False)
    # all members taught by the finished plain ensemble, themselves among it: weights of the cost kl
    once: tuple[Weight, ...] = Field((), strict=False)
    chain: Chain | None = None  # each member taught by its own predecessor, again and again
    wider: Text | None = None  # one network instead of all members, such as noel2017_m(filters=17)
    # row -> another network instead of all members, such as packed_ensemble(noel2017_m, members=2)
    instead: Annotated[dict[str, Text], AfterValidator(_one_network)] = Field(default_factory=dict)
    published: Literal["mnist", "notmnist", "cifar10"] | None = None  # figures of Noel 2017 to print beside

    @property
    def one_network(self) -> dict[str, str]:
        """Row -> the network that stands there for all members."""
        return ({WIDER: self.wider} if self.wider else {}) | self.instead


def short(weight: float) -> str:
    """0.01, 1; all digits where six do not tell two weights apart."""
    text = f"{weight:g}"
    return text if float(text) == weight else repr(weight)

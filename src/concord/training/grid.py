"""A study: one configuration, varied over costs, weights, seeds and sets of members."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from concord.errors import UsageError
from concord.training import toml
from concord.training.config import Config, Consensus, Cost, Section

NONE = "none"
ALONE = "alone"
Weights = Annotated[list[Annotated[float, Field(gt=0)]], Field(min_length=1)]


def _pulls(cost: str) -> str:
    if cost == NONE:
        raise ValueError('the plain ensemble runs anyway and takes no weights; leave cost = "none" out')
    return cost


class Arm(Section):
    """One cost with the weights to try."""

    cost: Annotated[Cost, AfterValidator(_pulls)]
    weights: Weights


class Study(Section):
    """What is varied. The plain ensemble (cost "none") always runs too: it is every row's baseline."""

    arms: tuple[Arm, ...] = Field((), strict=False)
    seeds: Annotated[tuple[int, ...], Field(min_length=1, strict=False)] = (0, 1, 2)
    sets: list[list[str]] | None = None  # names of members that train together; default: all of them
    alone: bool = False  # every member by itself too
    published: Literal["mnist", "notmnist", "cifar10"] | None = None  # figures of source 004 to print beside


@dataclass(frozen=True)
class GridCell:
    """One run of a study. ``cost`` is that of the table's row: ``alone`` for a member trained by itself."""

    name: str
    cost: str
    weight: float
    members: tuple[str, ...]
    seed: int
    config: Config


def parse(tables: Mapping[str, Any], where: str = "study") -> tuple[Study, Config]:
    """The [study] table and the configuration that it varies; UsageError lists every fault."""
    varied = tables.get("study", {})
    if not isinstance(varied, Mapping):
        raise UsageError(f"{where}:\n  study: expected a table of settings, got {varied!r}")
    study = toml.checked(Study, varied, where, "study.")
    return study, toml.parse({k: v for k, v in tables.items() if k != "study"}, where)


def cells(study: Study, base: Config) -> list[GridCell]:
    """All runs, seed by seed, so that an unfinished study has whole rows for the first seeds."""
    sets = study.sets or [[member.name for member in base.members]]
    _known(sets, base)
    found: dict[str, GridCell] = {}
    for seed in study.seeds:
        for cell in _of_seed(study, base, sets, seed):
            found.setdefault(cell.name, cell)
    return list(found.values())


def _known(sets: Sequence[Sequence[str]], base: Config) -> None:
    names = [member.name for member in base.members]
    strangers = sorted({name for chosen in sets for name in chosen} - set(names))
    if strangers or not all(sets):
        raise UsageError(
            f"study.sets names {', '.join(strangers) or 'nobody'}; the members are {', '.join(names)}"
        )


def _of_seed(study: Study, base: Config, sets: Sequence[Sequence[str]], seed: int) -> Iterator[GridCell]:
    for chosen in sets:
        members = tuple(chosen)
        if study.alone:
            for name in members:
                yield _cell(base, ALONE, 0.0, (name,), seed)
        yield _cell(base, NONE, 0.0, members, seed)
        for arm in study.arms:
            for weight in arm.weights:
                yield _cell(base, arm.cost, weight, members, seed)


def _cell(base: Config, cost: str, weight: float, members: tuple[str, ...], seed: int) -> GridCell:
    # without a cost nothing else of [consensus] matters, and a table of edges may not fit
    consensus = base.consensus.model_copy(update={"cost": cost, "weight": weight}) if weight else Consensus()
    update = {
        "members": [m for m in base.members if m.name in members],
        "consensus": consensus,
        "train": base.train.model_copy(update={"seed": seed}),
    }
    config = toml.parse(base.model_copy(update=update).model_dump(mode="json", exclude_none=True))
    row = f"{cost}-{_short(weight)}" if weight else cost
    return GridCell(f"{'+'.join(members)}_{row}_seed{seed}", cost, weight, members, seed, config)


def _short(weight: float) -> str:
    """0.01, 1; all digits where six do not tell two weights apart."""
    text = f"{weight:g}"
    return text if float(text) == weight else repr(weight)

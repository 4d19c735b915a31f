"""A study: one configuration, varied over costs, weights, seeds and sets of members."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from concord.consensus.names import ENSEMBLE, NONE
from concord.errors import UsageError
from concord.runs import toml
from concord.runs.config import Config, Consensus, Cost, Member
from concord.runs.section import Section, Text
from concord.runs.task_kinds import kind_name

ALONE = "alone"
SMOOTHING = "smoothing"
DISTIL = "distil"
WIDER = "wider"
Weight = Annotated[float, Field(gt=0)]
Weights = Annotated[list[Weight], Field(min_length=1)]
Share = Annotated[float, Field(gt=0, lt=1)]


def _pulls(cost: str) -> str:
    if cost == NONE:
        raise ValueError('the plain ensemble runs anyway and takes no weights; leave cost = "none" out')
    return cost


class Arm(Section):
    """One cost with the weights to try."""

    cost: Annotated[Cost, AfterValidator(_pulls)]
    weights: Weights


class Study(Section):
    """What is varied. The plain ensemble (cost "none") always runs too: it is every row's baseline.

    The rows ``smoothing``, ``distil`` and ``wider`` ask what else could have made members better: softer
    labels, a finished teacher instead of a partner, or one large network instead of several.
    """

    arms: tuple[Arm, ...] = Field((), strict=False)
    seeds: Annotated[tuple[int, ...], Field(min_length=1, strict=False)] = (0, 1, 2)
    sets: list[list[str]] | None = None  # names of members that train together; default: all of them
    alone: bool = False  # every member by itself too
    # the plain ensemble with so much label smoothing
    smoothing: tuple[Share, ...] = Field((), strict=False)
    # each member taught by the others, which are finished: weights of the cost kl
    distil: tuple[Weight, ...] = Field((), strict=False)
    wider: Text | None = None  # one network instead of all members, such as noel2017_m(filters=17)
    published: Literal["mnist", "notmnist", "cifar10"] | None = None  # figures of Noel 2017 to print beside


@dataclass(frozen=True)
class GridCell:
    """One run of a study. ``cost`` is that of the table's row: ``alone`` for a member trained by itself.

    ``members`` are those of the table. ``only`` names the one member of the run whose scores count and the
    column in which they stand; without it every member has its own, and the ensemble too.
    """

    name: str
    cost: str
    weight: float
    members: tuple[str, ...]
    seed: int
    config: Config
    only: tuple[str, str] | None = None
    teacher: Path | None = None  # run folder whose members teach this one


def parse(tables: Mapping[str, Any], where: str = "") -> tuple[Study, Config]:
    """The [study] table and the configuration that it varies; UsageError lists every fault."""
    varied = tables.get("study", {})
    if not isinstance(varied, Mapping):
        raise UsageError(f"{where and f'{where}: '}study: must be a table of settings, got {varied!r}")
    study = toml.checked(Study, varied, where, "study.")
    return study, toml.parse({k: v for k, v in tables.items() if k != "study"}, where)


def cells(study: Study, base: Config, runs: Path) -> list[GridCell]:
    """All runs, seed by seed, so that an unfinished study has whole rows for the first seeds.

    ``runs`` is the folder that holds them: distillation finds its teachers there.
    """
    sets = study.sets or [[member.name for member in base.members]]
    _check(study, base, sets)
    found: dict[str, GridCell] = {}
    for seed in study.seeds:
        for chosen in sets:
            for cell in _rows(study, base, tuple(chosen), seed, runs):
                found.setdefault(cell.name, cell)
    return list(found.values())


def _check(study: Study, base: Config, sets: Sequence[Sequence[str]]) -> None:
    """UsageError for rows that the members do not allow, and for a task whose rows are not compared yet."""
    if kind_name(base.train.task) != "pictures":
        raise UsageError(f"a study compares classifiers of pictures; train.task is {base.train.task}")
    names = [member.name for member in base.members]
    strangers = sorted({name for chosen in sets for name in chosen} - set(names))
    if strangers or not all(sets):
        raise UsageError(
            f"study.sets names {', '.join(strangers) or 'no member'}; the members are {', '.join(names)}"
        )
    twice = [chosen for chosen in (*sets, study.seeds) if len(set(chosen)) < len(chosen)]
    if twice:
        raise UsageError(f"study: {list(twice[0])} names one of them twice")
    together = [chosen for chosen in sets if len(chosen) > 1]
    if (study.distil or study.wider) and not together:
        raise UsageError("study.distil and study.wider need a set of several members; each set has one")
    if study.wider and len(together) > 1:
        raise UsageError(
            f"study.wider stands for one set of members; there are {len(together)}: make a study of each"
        )
    taught = [member.name for member in base.members if member.teacher]
    if study.distil and taught:
        raise UsageError(f"study.distil makes teachers itself; leave out the teacher of {', '.join(taught)}")
    if base.train.label_smoothing in study.smoothing:
        raise UsageError(
            f"study.smoothing {base.train.label_smoothing:g} is train.label_smoothing, which every row has"
        )


def _rows(study: Study, base: Config, members: tuple[str, ...], seed: int, runs: Path) -> Iterator[GridCell]:
    train = base.train.model_copy(update={"seed": seed})
    base = base.model_copy(update={"train": train})
    if study.alone:
        for name in members:
            yield _cell(base, ALONE, 0.0, (name,))
    plain = _cell(base, NONE, 0.0, members)
    yield plain
    for arm in study.arms:
        for weight in arm.weights:
            consensus = base.consensus.model_copy(update={"cost": arm.cost, "weight": weight})
            yield _cell(base, arm.cost, weight, members, {"consensus": consensus})
    for share in study.smoothing:
        soft = train.model_copy(update={"label_smoothing": share})
        yield _cell(base, SMOOTHING, share, members, {"train": soft})
    if len(members) == 1:
        return
    for weight in study.distil:
        for name in members:
            yield _taught(base, weight, members, name, runs / plain.name)
    if study.wider:
        network = [Member(name=WIDER, network=study.wider)]
        yield _cell(base, WIDER, 0.0, members, {"members": network}, only=(WIDER, ENSEMBLE))


def _taught(base: Config, weight: float, members: tuple[str, ...], name: str, plain: Path) -> GridCell:
    """One member learns, the others are as the plain ensemble of that seed left them."""
    learners = [
        m if m.name == name else m.model_copy(update={"teacher": f"{plain}:{m.name}"})
        for m in base.members
        if m.name in members
    ]
    temperature = base.consensus.temperature if base.consensus.cost == "kl" else None
    consensus = Consensus(cost="kl", weight=weight, edges="mean", temperature=temperature)
    cell = _cell(base, DISTIL, weight, members, {"members": learners, "consensus": consensus}, (name, name))
    return replace(cell, teacher=plain)


def _cell(
    base: Config,
    cost: str,
    weight: float,
    members: tuple[str, ...],
    tables: Mapping[str, Any] | None = None,
    only: tuple[str, str] | None = None,
) -> GridCell:
    """A run of a row: ``tables`` replace those of the base, whose [consensus] matters to no baseline."""
    chosen = {"members": [m for m in base.members if m.name in members], "consensus": Consensus()}
    config = base.model_copy(update=chosen | dict(tables or {}))
    parts = [cost, _short(weight) if weight else "", only[0] if cost == DISTIL and only else ""]
    row = "-".join(filter(None, parts))
    return GridCell(
        f"{'+'.join(members)}_{row}_seed{base.train.seed}",
        cost,
        weight,
        members,
        base.train.seed,
        toml.parse(config.model_dump(mode="json", exclude_none=True)),
        only,
    )


def _short(weight: float) -> str:
    """0.01, 1; all digits where six do not tell two weights apart."""
    text = f"{weight:g}"
    return text if float(text) == weight else repr(weight)

"""The runs of a study for one seed and one set of members, row by row."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from concord.consensus.names import ENSEMBLE, NONE
from concord.runs import toml
from concord.runs.config import Config, Member
from concord.runs.config_consensus import Consensus
from concord.studies.settings import (
    ALONE,
    CHAIN,
    DISTIL,
    EMA,
    ONCE,
    SMOOTHING,
    SNAPSHOTS,
    Chain,
    Study,
    short,
)

SNAPSHOTS_FILE = "snapshots.json"  # in the folder of a run: column -> figures of its snapshots together
FILE_NAME = str.maketrans(" :", "__")  # of a row's name in that of a folder


@dataclass(frozen=True)
class GridCell:
    """One run of a study. ``cost`` is that of the table's row: ``alone`` for a member trained by itself.

    ``members`` are those of the table. ``only`` names the members of the run whose scores count and the
    columns in which they stand; without it every member has its own, and the ensemble too.
    """

    name: str
    cost: str
    weight: float
    members: tuple[str, ...]
    seed: int
    config: Config
    only: Mapping[str, str] | None = None
    teacher: Path | None = None  # run folder whose members teach this one

    @property
    def one_network(self) -> bool:
        """Whether one network stands here for all members."""
        return self.only == {self.cost: ENSEMBLE}

    def done(self, runs: Path) -> bool:
        """Whether the run is complete, with what its snapshots predict together if that is its row."""
        files = ("result.json", SNAPSHOTS_FILE) if self.cost == SNAPSHOTS else ("result.json",)
        return all((runs / self.name / file).is_file() for file in files)


def rows(study: Study, base: Config, members: tuple[str, ...], seed: int, runs: Path) -> Iterator[GridCell]:
    train = base.train.model_copy(update={"seed": seed})
    base = base.model_copy(update={"train": train})
    if study.alone:
        for name in members:
            yield _cell(base, ALONE, 0.0, (name,))
    plain = _cell(base, NONE, 0.0, members)
    yield plain
    for arm in study.arms:
        for weight in arm.weights:
            changed = {"cost": arm.cost, "weight": weight} | (
                {"schedule": arm.schedule} if arm.schedule else {}
            )
            consensus = base.consensus.model_copy(update=changed)
            yield _cell(base, arm.row, weight, members, {"consensus": consensus})
    for row, key, values in ((SMOOTHING, "label_smoothing", study.smoothing), (EMA, "ema", study.ema)):
        for value in values:
            yield _cell(base, row, value, members, {"train": train.model_copy(update={key: value})})
    for cycles in study.snapshots:
        cyclic = train.model_copy(update={"schedule": "cosine", "cycles": cycles})
        yield _cell(base, SNAPSHOTS, float(cycles), members, {"train": cyclic})
    if study.chain:
        yield from _generations(base, study.chain, members, runs, plain.name)
    if len(members) == 1:
        return
    for weight in study.distil:
        for name in members:
            yield _taught(base, weight, members, name, runs / plain.name)
    for weight in study.once:
        yield _taught_once(base, weight, members, runs / plain.name)
    for row, network in study.one_network.items():
        yield _cell(
            base, row, 0.0, members, {"members": [Member(name=row, network=network)]}, {row: ENSEMBLE}
        )


def _taught(base: Config, weight: float, members: tuple[str, ...], name: str, plain: Path) -> GridCell:
    """One member learns, the others are as the plain ensemble of that seed left them."""
    learners = [
        m if m.name == name else m.model_copy(update={"teacher": f"{plain}:{m.name}"})
        for m in base.members
        if m.name in members
    ]
    consensus = Consensus(cost="kl", weight=weight, edges="mean", temperature=_temperature(base))
    cell = _cell(base, DISTIL, weight, members, {"members": learners, "consensus": consensus}, {name: name})
    return replace(cell, teacher=plain)


def _taught_once(base: Config, weight: float, members: tuple[str, ...], plain: Path) -> GridCell:
    """All members learn, each from every member of the plain ensemble of that seed, as it was left.

    A share 1 / M of kl to each of M teachers has the gradient of kl to the mean of their probabilities.
    """
    m = len(members)
    taught = _with_teachers(base, weight, members, plain, [[1 / m] * m] * m)
    cell = _cell(base, ONCE, weight, members, taught, {name: name for name in members})
    return replace(cell, teacher=plain)


def _generations(
    base: Config, chain: Chain, members: tuple[str, ...], runs: Path, plain: str
) -> Iterator[GridCell]:
    """A run for each generation, in which every member learns from its own predecessor.

    The row's weight is the number of the generation.
    """
    own = [[float(i == j) for j in range(len(members))] for i in range(len(members))]
    decay = {} if chain.weight_decay is None else {"weight_decay": chain.weight_decay}
    train = base.train.model_copy(update={"optimizer": base.train.optimizer.model_copy(update=decay)})
    before = runs / plain
    for number in range(1, chain.generations + 1):
        taught = _with_teachers(base, chain.weight, members, before, own) | {"train": train}
        cell = _cell(base, CHAIN, float(number), members, taught, {name: name for name in members})
        yield replace(cell, teacher=before)
        before = runs / cell.name


def _with_teachers(
    base: Config, weight: float, members: tuple[str, ...], run: Path, shares: Sequence[Sequence[float]]
) -> dict[str, Any]:
    """All members, and each again as that run left it; member i learns from teacher j by shares[i][j]."""
    pupils = [m for m in base.members if m.name in members]
    teachers = [
        m.model_copy(update={"name": f"{m.name}.teacher", "teacher": f"{run}:{m.name}"}) for m in pupils
    ]
    m = len(pupils)
    edges = [[0.0] * m + list(row) for row in shares] + [[0.0] * 2 * m] * m
    consensus = Consensus(cost="kl", weight=weight, edges=edges, temperature=_temperature(base))
    return {"members": [*pupils, *teachers], "consensus": consensus}


def _temperature(base: Config) -> float | None:
    return base.consensus.temperature if base.consensus.cost == "kl" else None


def _cell(
    base: Config,
    cost: str,
    weight: float,
    members: tuple[str, ...],
    tables: Mapping[str, Any] | None = None,
    only: Mapping[str, str] | None = None,
) -> GridCell:
    """A run of a row: ``tables`` replace those of the base, whose [consensus] matters to no baseline."""
    chosen = {"members": [m for m in base.members if m.name in members], "consensus": Consensus()}
    config = base.model_copy(update=chosen | dict(tables or {}))
    taught = next(iter(only)) if cost == DISTIL and only else ""
    row = "-".join(filter(None, [cost.translate(FILE_NAME), short(weight) if weight else "", taught]))
    return GridCell(
        f"{'+'.join(members)}_{row}_seed{base.train.seed}",
        cost,
        weight,
        members,
        base.train.seed,
        toml.parse(config.model_dump(mode="json", exclude_none=True)),
        only,
    )

"""A study: one configuration, varied over costs, weights, seeds and sets of members."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from concord.errors import UsageError
from concord.runs import toml
from concord.runs.config import Config
from concord.runs.task_kinds import kind_name
from concord.studies.rows import GridCell, rows
from concord.studies.settings import CHAIN, DISTIL, ONCE, Study


def parse(tables: Mapping[str, Any], where: str = "") -> tuple[Study, Config]:
    """The [study] table and the configuration that it varies; UsageError lists every fault."""
    varied = tables.get("study", {})
    if not isinstance(varied, Mapping):
        raise UsageError(f"{where and f'{where}: '}study: must be a table of settings, got {varied!r}")
    study = toml.checked(Study, varied, where, "study.")
    base = {k: v for k, v in tables.items() if k != "study"}
    if isinstance(consensus := base.get("consensus"), Mapping):
        base["consensus"] = {"weight": 0.0, **consensus}  # the arms have the weights
    return study, toml.parse(base, where)


def cells(study: Study, base: Config, runs: Path) -> list[GridCell]:
    """All runs, seed by seed, so that an unfinished study has whole rows for the first seeds.

    ``runs`` is the folder that holds them: distillation finds its teachers there.
    """
    sets = study.sets or [[member.name for member in base.members]]
    _check(study, base, sets)
    found: dict[str, GridCell] = {}
    for seed in study.seeds:
        for chosen in sets:
            for cell in rows(study, base, tuple(chosen), seed, runs):
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
    if (study.distil or study.once or study.one_network) and not together:
        raise UsageError(
            "study.distil, study.once, study.wider and study.instead need a set of several members; each set"
            " has one"
        )
    if study.one_network and len(together) > 1:
        key = "wider" if study.wider else "instead"
        raise UsageError(
            f"study.{key} stands for one set of members; there are {len(together)}: make a study of each"
        )
    if study.snapshots and base.train.cycles > 1:
        raise UsageError("study.snapshots sets train.cycles, which every row has; leave train.cycles out")
    taught = [member.name for member in base.members if member.teacher]
    for name, row in ((DISTIL, study.distil), (ONCE, study.once), (CHAIN, study.chain)):
        if row and taught:
            raise UsageError(
                f"study.{name} makes teachers itself; leave out the teacher of {', '.join(taught)}"
            )
    if study.chain and study.chain.weight_decay is not None and base.train.optimizer.kind == "python":
        raise UsageError("study.chain.weight_decay is for optimisers that a settings file names")
    for name, key, values in (("smoothing", "label_smoothing", study.smoothing), ("ema", "ema", study.ema)):
        value = getattr(base.train, key)
        if value in values:
            raise UsageError(f"study.{name} {value:g} is train.{key}, which every row has")

"""Reading back what was kept: a saved ensemble, or a run."""

from collections.abc import Collection
from pathlib import Path
from typing import Any, overload

from concord.api.run import Run
from concord.errors import CheckpointError, UsageError
from concord.runs import own_saved
from concord.runs.ensemble import Ensemble
from concord.runs.own_members import Members, named
from concord.runs.there import SAVED
from concord.tasks.classify import ClassScores
from concord.tasks.task import S, Task


@overload
def load(path: str | Path, *, allow_code: Collection[str] = ()) -> Run: ...
@overload
def load(path: str | Path, members: Members, *, cycle: int | None = ...) -> Ensemble[ClassScores]: ...
@overload
def load(path: str | Path, members: Members, *, task: Task[S], cycle: int | None = ...) -> Ensemble[S]: ...
def load(
    path: str | Path,
    members: Members | None = None,
    *,
    task: Task[Any] | None = None,
    cycle: int | None = None,
    allow_code: Collection[str] = (),
) -> Run | Ensemble[Any]:
    """An ensemble of your modules with the weights that were saved, or a finished run of the zoo's networks.

    ``load("own", members={"small": Small(), "big": Big()})`` reads what ``Ensemble.save`` wrote, or the run
    folder that ``Ensemble.fit(..., out=...)`` made; give the ``task`` where it was not "classify".
    ``cycle=1`` reads the weights at the end of the first cycle of a run of ``fit(..., cycles=5, out=...)``.
    ``load("runs/a")`` gives the run that ``concord.train`` made. A consensus that was a function is not kept:
    the ensemble that is read has none. Raises CheckpointError if nothing is there, it is damaged, or was made
    for other modules.
    """
    folder = Path(path)
    if members is None and cycle is not None:
        raise UsageError("cycle is for the weights of your own modules: give members={...}")
    if members is None:
        if (folder / SAVED).is_file():
            raise CheckpointError(f"{folder} is a saved ensemble of your own modules: give members={{...}}")
        return Run(folder, allow_code=allow_code)
    found = named(members)
    kept = own_saved.read(folder, found, cycle)
    if task is None and kept.task != own_saved.CLASSIFY:
        raise UsageError(f"{folder} was made with the task {kept.task}: give task=")
    bound = kept.binding
    chosen: Any = (kept.classifier or "classify") if task is None else task
    return Ensemble(
        found,
        consensus=bound.consensus,
        weight=bound.weight,
        edges=bound.edges,
        temperature=bound.temperature,
        task=chosen,
    )

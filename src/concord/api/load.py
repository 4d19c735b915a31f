"""Reading back what was kept: a saved ensemble, or a run."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, overload

from torch import nn

from concord.api.run import Run
from concord.errors import CheckpointError
from concord.runs import own_run
from concord.runs.ensemble import Ensemble
from concord.tasks.classify import Classify, ClassScores
from concord.tasks.task import Task


@overload
def load(path: str | Path, *, allow_code: Collection[str] = ()) -> Run: ...
@overload
def load(
    path: str | Path,
    members: Mapping[str, nn.Module] | Sequence[nn.Module],
    *,
    task: Task[Any] | None = None,
) -> Ensemble[ClassScores]: ...
def load(
    path: str | Path,
    members: Mapping[str, nn.Module] | Sequence[nn.Module] | None = None,
    *,
    task: Task[Any] | None = None,
    allow_code: Collection[str] = (),
) -> Run | Ensemble[Any]:
    """An ensemble of your modules with the weights that were saved, or a finished run of the zoo's networks.

    ``load("own", members={"small": Small(), "big": Big()})`` reads what ``Ensemble.save`` wrote, or the run
    folder that ``Ensemble.fit(..., out=...)`` made. ``load("runs/a")`` gives the run that ``concord.train``
    made. Raises CheckpointError if nothing is there, it is damaged, or was made for other modules.
    """
    folder = Path(path)
    if members is None:
        if (folder / own_run.DOCUMENT).is_file():
            raise CheckpointError(f"{folder} is a saved ensemble of your own modules: give members={{...}}")
        return Run(folder, allow_code=allow_code)
    found = own_run.named(members)
    is_run = (folder / "config.toml").is_file()
    binding, classes = (own_run.from_run if is_run else own_run.read)(folder, found)
    chosen: Any = task if task is not None else Classify(classes) if classes else "classify"
    return Ensemble(
        found,
        consensus=binding.consensus,
        weight=binding.weight,
        edges=binding.edges,
        temperature=binding.temperature,
        task=chosen,
    )

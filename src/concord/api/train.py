"""Training a run, and continuing one."""

from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from concord.errors import UsageError
from concord.runs import toml
from concord.runs.config import Config
from concord.runs.folder import RunFolder, refuse_taken

if TYPE_CHECKING:
    from concord.api.run import Run
    from concord.training.observer import Observer

UNNAMED = [{"name": name, "network": name} for name in ("small", "big")]  # until the pictures are looked at


def train(
    config: Config | Mapping[str, Any],
    out: str | Path = "runs/run",
    *,
    allow_code: Collection[str] = (),
    observer: "Observer | None" = None,
    stop: Callable[[], bool] | None = None,
) -> "Run":
    """Train as the configuration says, into a new run folder; gives the run with its result.

    ``config`` is a ``Config``, or the tables of a settings file as a mapping.
    ``train(Config(members=[Member("st", network="noel2017_st")]), out="runs/first")`` trains one member on
    digits. Tables that name no members train a pair that suits the size of the pictures. ``allow_code`` names
    own networks (package.module:factory, file.py:factory) that may be imported. Settings are refused before
    torch is imported.
    """
    if not isinstance(config, Config | Mapping):
        raise UsageError(
            f"config is a concord.Config or a mapping of settings, got {config!r};"
            ' data belong inside: Config(data={"source": "photos/"}, ...)'
        )
    unnamed = None if isinstance(config, Config) or config.get("members") else config
    settings = config if isinstance(config, Config) else toml.parse({"members": UNNAMED, **_full(config)})
    refuse_taken(Path(out))
    from concord.api.run import Run
    from concord.runs import train as runs
    from concord.runs.default_members import with_members
    from concord.runs.task_kinds import refuse_unknown
    from concord.runs.watching import never
    from concord.training.observer import SILENT

    refuse_unknown(settings.train.task)
    if unnamed is not None:
        settings = toml.parse(with_members(unnamed, observer or SILENT))
    result = runs.train(
        settings, Path(out), allow_code=allow_code, observer=observer or SILENT, stop=stop or never
    )
    return Run(out, allow_code=allow_code, result=result)


def _full(tables: Mapping[str, Any]) -> dict[str, Any]:
    """The tables without an empty list of members."""
    return {key: value for key, value in tables.items() if key != "members" or value}


def resume(
    run: str | Path,
    *,
    settings: Sequence[str] = (),
    without: Collection[str] = (),
    allow_changes: bool = False,
    strict: bool = False,
    allow_code: Collection[str] = (),
    observer: "Observer | None" = None,
    stop: Callable[[], bool] | None = None,
) -> "Run":
    """Continue a run exactly where it stopped; gives what ``result.json`` holds.

    ``without`` names members that keep their weights from here on and from which nobody learns any more, such
    as one that diverged. ``strict``: CheckpointError if the newest checkpoint is damaged, where otherwise an
    earlier one is used.
    """
    RunFolder(Path(run), sealed=False).config()  # refused before torch is imported, if it is not a run
    from concord.api.run import Run
    from concord.runs import train as runs
    from concord.runs.watching import never
    from concord.training.observer import SILENT

    result = runs.resume(
        Path(run),
        settings=settings,
        without=without,
        allow_changes=allow_changes,
        strict=strict,
        allow_code=allow_code,
        observer=observer or SILENT,
        stop=stop or never,
    )
    return Run(run, allow_code=allow_code, result=result)

"""Training a run, and continuing one."""

from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from concord.runs import toml
from concord.runs.folder import RunFolder

if TYPE_CHECKING:
    from concord.runs.result import Result
    from concord.training.observer import Observer


def train(
    settings: Mapping[str, Any],
    out: str | Path,
    *,
    allow_code: Collection[str] = (),
    observer: "Observer | None" = None,
    stop: Callable[[], bool] | None = None,
) -> "Result":
    """Train as the configuration tables say, into a new run folder; gives what ``result.json`` holds.

    ``train({"members": [{"name": "st", "network": "noel2017_st"}]}, "runs/first")`` trains one member on
    digits. Settings are refused before torch is imported.
    """
    config = toml.parse(settings)
    from concord.runs import train as runs
    from concord.runs.watching import never
    from concord.training.observer import SILENT

    return runs.train(
        config, Path(out), allow_code=allow_code, observer=observer or SILENT, stop=stop or never
    )


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
) -> "Result":
    """Continue a run exactly where it stopped; gives what ``result.json`` holds.

    ``without`` names members that keep their weights from here on and from which nobody learns any more, such
    as one that diverged. ``strict``: CheckpointError if the newest checkpoint is damaged, where otherwise an
    earlier one is used.
    """
    RunFolder(Path(run)).config()  # refused before torch is imported, if it is not a run
    from concord.runs import train as runs
    from concord.runs.watching import never
    from concord.training.observer import SILENT

    return runs.resume(
        Path(run),
        settings=settings,
        without=without,
        allow_changes=allow_changes,
        strict=strict,
        allow_code=allow_code,
        observer=observer or SILENT,
        stop=stop or never,
    )

"""Members of a run on corrupted test images."""

from collections.abc import Callable, Collection
from pathlib import Path

from concord.runs import corruptions
from concord.runs.corruptions import Corruptions
from concord.runs.watching import never
from concord.training.observer import SILENT, Observer


def corrupt(
    run: str | Path,
    *,
    data: str | None = None,
    limit: int | None = None,
    seed: int = 0,
    allow_code: Collection[str] = (),
    observer: Observer = SILENT,
    stop: Callable[[], bool] = never,
) -> Corruptions:
    """Error of every member and of the ensemble on test images after 15 corruptions of 5 strengths each.

    The corruptions are concord's own (``concord.data.images.corrupt``), so figures are not comparable with
    published ones. ``limit``: number of test images, stratified by class. The figures are kept in
    RUN/corruptions.json, from where the report takes them. UsageError for a run of another task.
    """
    found = corruptions.corrupt(
        Path(run), data=data, limit=limit, seed=seed, allow_code=allow_code, observer=observer, stop=stop
    )
    corruptions.write(found, Path(run))
    return found

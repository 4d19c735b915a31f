"""From data and limits to the best network under them, in a folder that is used without concord."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from concord.runs.config_data import Data
from concord.runs.toml import checked
from concord.shipping.asked import Asked
from concord.shipping.limits import Limits

if TYPE_CHECKING:
    from concord.shipping.plan import Plan
    from concord.shipping.shipped import Shipped
    from concord.training.observer import Observer


def ship(
    data: str | Path | Data,
    out: str | Path = "shipped",
    *,
    max_parameters: int | None = None,
    max_macs: int | None = None,
    max_bytes: int | None = None,
    max_ms: float | None = None,
    hours: float = 1.0,
    teacher: str | Path | None = None,
    size: int | None = None,
    valid: float | None = None,
    test: float | None = None,
    seed: int | None = None,
    observer: "Observer | None" = None,
    stop: Callable[[], bool] | None = None,
) -> "Shipped":
    """Search for the best network for ``data`` under the limits within the hours, and write it to ``out``.

        found = concord.ship("photos/", "shipped", max_parameters=50_000, hours=0.5)
        found.sentence(), found.tested.error, found.int8.shipped

    Of the folder ``model.onnx``, ``model.int8.onnx``, ``classes.json`` and ``predict.py`` are used without
    concord. ``max_bytes`` is that of ``model.onnx``; ``max_ms`` milliseconds of one image in ONNX Runtime on
    one thread of this machine. ``teacher`` is RUN or RUN:MEMBER, trained on the same data, which teaches too.
    ``valid`` and ``test`` are the shares that are cut off where the data do not have such a part (a tenth
    and a fifth). ``data`` can be a ``concord.Data``, for example one with ``drop_duplicates=True``; what is
    given beside it takes the place of its own.

    The same call continues a search that was stopped. Raises UsageError for limits that no network is under
    and for hours that are too short for one candidate, DataError for too few images or a teacher of other
    classes, StoppedError when ``stop`` says so, with everything saved.
    """
    asked = _asked(data, max_parameters, max_macs, max_bytes, max_ms, hours, teacher, size, valid, test, seed)
    from concord.runs.watching import never
    from concord.shipping.search import shipped
    from concord.training.observer import SILENT

    return shipped(asked, Path(out), observer or SILENT, stop or never)


def ship_plan(
    data: str | Path | Data,
    *,
    max_parameters: int | None = None,
    max_macs: int | None = None,
    max_bytes: int | None = None,
    max_ms: float | None = None,
    hours: float = 1.0,
    teacher: str | Path | None = None,
    size: int | None = None,
    valid: float | None = None,
    test: float | None = None,
    seed: int | None = None,
    observer: "Observer | None" = None,
    stop: Callable[[], bool] | None = None,
) -> "Plan":
    """The runs, hours and bytes that ``ship`` would take; an update of each candidate is timed for a moment.

    Nothing is written. Raises what ``ship`` raises before its first training.
    """
    asked = _asked(data, max_parameters, max_macs, max_bytes, max_ms, hours, teacher, size, valid, test, seed)
    from concord.runs.watching import never
    from concord.shipping.search import planned
    from concord.training.observer import SILENT

    return planned(asked, observer or SILENT, stop or never)


def _asked(
    data: str | Path | Data,
    parameters: int | None,
    macs: int | None,
    bytes_: int | None,
    milliseconds: float | None,
    hours: float,
    teacher: str | Path | None,
    size: int | None,
    valid: float | None,
    test: float | None,
    seed: int | None,
) -> Asked:
    """What is searched for; UsageError without the packages that write ONNX files."""
    from concord.runs.export_formats import need_packages

    need_packages(".onnx")
    start = data.model_dump(exclude_none=True) if isinstance(data, Data) else {"source": str(data)}
    beside = {"size": size, "valid": valid, "test": test, "seed": seed}
    read = checked(Data, {**start, **{k: v for k, v in beside.items() if v is not None}}, prefix="data.")
    limits = Limits(parameters, macs, bytes_, milliseconds)
    return Asked(read, limits, hours, None if teacher is None else str(teacher))

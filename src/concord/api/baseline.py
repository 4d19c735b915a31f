"""Classifiers without a network, beside the members of runs."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from concord.baseline.wanted import check_options, named
from concord.errors import UsageError
from concord.runs import toml
from concord.runs.comparison import Comparison
from concord.runs.config_data import Data
from concord.runs.loading import load_run
from concord.runs.watching import Stop, never
from concord.training.observer import SILENT, Observer

IMAGES_PER_TRY = 10_000
LARGEST_SEED = 2**32 - 1  # scikit-learn's


def baselines(
    names: Sequence[str],
    data: str | None = None,
    *,
    runs: Sequence[str | Path] = (),
    options: Mapping[str, float] | None = None,
    seed: int = 0,
    limit: int | None = None,
    choose: bool = False,
    choose_on: int = IMAGES_PER_TRY,
    settings: Sequence[str] = (),
    allow_code: Collection[str] = (),
    observer: Observer = SILENT,
    stop: Stop = never,
) -> dict[str, Any]:
    """Train these baselines, and give their figures and those of the members of ``runs``.

    ``options`` are settings such as c and gamma. With ``choose`` every other setting is chosen on a
    validation split of the training images, with at most ``choose_on`` images to train on for each try.
    """
    comparison = prepared(
        names, data, runs, options or {}, seed, limit, choose, choose_on, settings, allow_code, observer, stop
    )
    list(comparison.rows())  # each row is made when it is asked for
    return comparison.document()


def prepared(
    names: Sequence[str],
    data: str | None,
    runs: Sequence[str | Path],
    options: Mapping[str, float],
    seed: int,
    limit: int | None,
    choose: bool,
    choose_on: int,
    settings: Sequence[str],
    allow_code: Collection[str],
    observer: Observer,
    stop: Stop,
) -> Comparison:
    """Everything that can be refused is refused here, before anything is trained."""
    methods = named(names)
    check_options(methods, options)
    _require_whole_number("--seed", seed, 0, LARGEST_SEED)
    _require_whole_number("--choose-on", choose_on, 2)
    if data is None and not runs:
        raise UsageError("say where the images come from: --data PATH (or --data digits), or --run RUN")
    flags = [("data.source", data), ("data.limit", limit), ("data.seed", None if runs else seed)]

    loaded = [load_run(Path(run), allow_code=allow_code, observer=observer) for run in runs]
    # the first run says how the data is read and split, so that its test images come out again
    first_run = {"data": loaded[0].config.data.model_dump(exclude_none=True)} if loaded else None
    tables: dict[str, Any] = first_run or {}
    for key, value in flags:
        if value is not None:
            toml.put(tables, key, value)
    for setting in settings:
        toml.assign(tables, setting)
    if no_data := sorted(set(tables) - {"data"}):
        raise UsageError(
            f"--set {no_data[0]}...: a baseline takes settings of data only, such as data.size=32"
        )
    data_settings = toml.checked(Data, tables["data"], prefix="data.")
    if choose and not data_settings.valid:
        raise UsageError("--choose needs validation images: give --set data.valid=0.1")
    return Comparison(
        methods, options, data_settings, loaded, seed, choose_on if choose else None, observer, stop
    )


def _require_whole_number(option: str, value: Any, least: int, most: int | None = None) -> None:
    large_enough = isinstance(value, int) and not isinstance(value, bool) and value >= least
    if not large_enough or (most is not None and value > most):
        upper = f" to {most:,}" if most is not None else " or more"
        raise UsageError(f"{option} must be a whole number, {least}{upper}, got {value!r}")

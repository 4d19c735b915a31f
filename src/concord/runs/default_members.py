"""Members for data of which a user names none: a pair that suits the size of the pictures."""

from collections.abc import Mapping
from typing import Any

from concord.data.load import load_data
from concord.runs import toml
from concord.runs.classes_only import classes_only
from concord.runs.config_data import Data
from concord.runs.task_kinds import PAIRS
from concord.training.observer import SILENT, Observer

SMALL_SIDE = 64  # pixels
FOR_SMALL = ("noel2017_st", "noel2017_m")
FOR_LARGE = ("mobilenet_v2", "resnet18")


class _Seen(Exception):
    """The shape of the pictures is known, and nothing more is to be read."""

    def __init__(self, shape: tuple[int, int, int]) -> None:
        super().__init__(shape)
        self.shape = shape


def with_members(tables: Mapping[str, Any], observer: Observer = SILENT) -> dict[str, Any]:
    """The tables of a settings file, with two members if they name none; a notice says which.

    Image files are looked at, not decoded. Raises DataError for data that cannot be read.
    """
    if tables.get("members"):
        return dict(tables)
    if (task := tables.get("train", {}).get("task")) in PAIRS:
        names = " and ".join(PAIRS[task].values())
        observer.notice(f"no members were named: {names} are trained (--members names others)")
        return {**tables, "members": [{"name": n, "network": network} for n, network in PAIRS[task].items()]}
    data = toml.checked(Data, tables.get("data", {}), "", "data.")
    shape = _shape_of(data)
    pair = FOR_SMALL if max(shape[1:]) <= SMALL_SIDE else FOR_LARGE
    observer.notice(
        f"no members were named: {pair[0]} and {pair[1]} are trained, which suit pictures of"
        f" {shape[1]}x{shape[2]} pixels (--members names others)"
    )
    return {**tables, "members": [{"name": network, "network": network} for network in pair]}


def _shape_of(data: Data) -> tuple[int, int, int]:
    def stop(shape: tuple[int, int, int], classes: tuple[str, ...]) -> None:
        raise _Seen(shape)

    try:
        with classes_only(data.source):
            return load_data(**data.of_pictures(), accept=stop).train.shape
    except _Seen as seen:
        return seen.shape

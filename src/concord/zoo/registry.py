"""The list of named networks. ``register`` is the only way onto it.

What can be said about a network without building it stands in ``table.json``, written by
``tools/zoo_table.py`` and held equal to the code by a test. So listing the zoo needs no torch, and finding
one network imports the one file that defines it.
"""

import importlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Protocol, TypedDict, TypeVar

from concord.errors import UsageError, suggestion

if TYPE_CHECKING:
    from torch import nn


class Build(Protocol):
    """A function that gives a new network for so many input channels and classes."""

    __name__: str

    def __call__(self, channels: int = ..., classes: int = ...) -> "nn.Module": ...


B = TypeVar("B", bound=Build)


@dataclass(frozen=True)
class Entry:
    name: str
    build: Build
    example: tuple[int, ...]  # a sample of the default network: (C, H, W), numbers (T, D), or () for a text
    parameters: int  # of the network with its default arguments, worked out by hand or quoted
    source: str
    text: tuple[int, int] | None = None  # (T, V): it takes, perhaps also, T symbols below V, (B, T) int64
    library: str = ""  # "torchvision": it is that library's own, and so are its pretrained weights
    side: Callable[[Mapping[str, int]], int] | None = None  # of a picture that it takes in such sizes

    def sample(self, sizes: Mapping[str, int]) -> tuple[int, ...]:
        """The shape of a sample that the network takes in these sizes: the example, or with other sides."""
        side = self.side(sizes) if self.side else sizes.get("side")
        return (*self.example[:-2], side, side) if side else self.example


class Seen(TypedDict):
    """What a unit of the last local map sees where no border cuts it: one number, or one for each axis."""

    size: int | list[int]
    stride: float | list[float]


class Row(TypedDict):
    """One line of the table."""

    name: str
    module: str
    input: list[int] | list[list[int]]  # shape of one sample; of each input where there are several
    parameters: int
    macs: int
    receptive_field: "Seen | None"
    source: str
    sizes: dict[str, int]  # what may stand in brackets behind the name, with what it is otherwise


ENTRIES: dict[str, Entry] = {}


def register(
    *,
    example: tuple[int, ...] = (),
    parameters: int,
    source: str,
    text: tuple[int, int] | None = None,
    library: str = "",
    side: Callable[[Mapping[str, int]], int] | None = None,
) -> Callable[[B], B]:
    """Put a builder on the list under its own name; UsageError if the name is taken."""

    def add(build: B) -> B:
        name = build.__name__
        if name in ENTRIES:
            raise UsageError(f"two networks are named {name!r}")
        ENTRIES[name] = Entry(name, build, example, parameters, source, text, library, side)
        return build

    return add


@cache
def listing() -> tuple[Row, ...]:
    """All networks of the zoo in order of name, read from the table: no torch, nothing built."""
    rows: list[Row] = json.loads(files("concord.zoo").joinpath("table.json").read_text(encoding="utf-8"))
    return tuple(rows)


def names() -> list[str]:
    """Names of the table and of what was registered since."""
    return sorted({row["name"] for row in listing()} | ENTRIES.keys())


def find(name: str) -> Entry:
    """Entry of that name, or UsageError naming the nearest one."""
    for row in listing():
        if row["name"] == name:
            importlib.import_module(row["module"])
    if name not in ENTRIES:
        raise UsageError(f"the zoo has no network {name!r}{suggestion(name, names())}")
    return ENTRIES[name]


def networks(names: Sequence[str] = ()) -> Sequence[Mapping[str, Any]]:
    """Name, input, parameters, MACs, field, source and sizes of these networks of the zoo, or of all.

    ``sizes`` may stand in brackets behind the name of a member, ``resnet20(filters=32)``; the values are the
    defaults, of which the figures are. UsageError for a name that is not there, and for brackets.
    """
    keys = ("name", "input", "parameters", "macs", "receptive_field", "source", "sizes")
    found: list[dict[str, Any]] = [{key: row[key] for key in keys} for row in map(dict, listing())]
    rows = {row["name"]: row for row in found}
    return [_row(rows, name) for name in names] if names else list(rows.values())


def _row(rows: Mapping[str, Mapping[str, Any]], name: str) -> Mapping[str, Any]:
    own, bracket, _ = name.partition("(")
    if own not in rows:
        cure = "for networks of torchvision, timm and your own use `concord cost NAME`"
        raise UsageError(f"the zoo has no network {own!r}{suggestion(own, rows)}; {cure}")
    if bracket:
        raise UsageError(f"{name!r}: the zoo lists {own}; concord cost '{name}' counts it at other sizes")
    return rows[own]

"""Costs of networks that concord, torchvision and timm define, kept from one command to the next.

Counting a network of a library imports torch, which takes seconds; its cost is the same every time. An entry
is for one network (with its sizes), one list of inputs, one number of classes, these versions and these
source files of concord. The cost of a user's own code is never kept: nothing shows when that code changes.
"""

import hashlib
import platform
import sys
from collections.abc import Sequence
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import concord
from concord.cost.record import Priced
from concord.cost.stored import from_data, to_data
from concord.files import cache as folder
from concord.runs.cost_inputs import Input
from concord.zoo.build import is_darknet
from concord.zoo.ensembles.names import inside
from concord.zoo.registry import listing, names

KIND = "costs"
VERSIONS = ("concord", "torch", "torchvision", "timm")
COUNTING = ("errors.py", "cost", "layers", "native", "zoo", "runs/costs.py", "runs/cost_inputs.py")

Key = dict[str, object]


def key_of(network: str, inputs: Sequence[Input], classes: int | None) -> Key | None:
    """What identifies the cost; None where the network may be somebody's own code."""
    if not _of_a_library(network):
        return None
    try:
        sources = _sources()
    except OSError:  # packed, or not readable
        return None
    return {
        "network": network,
        "inputs": [[list(one.shape), one.ids] for one in inputs],
        "classes": classes,
        "python": platform.python_version(),
        "versions": {name: _version(name) for name in VERSIONS},
        "sources": sources,
    }


def kept_cost(key: Key) -> Priced | None:
    """The cost as it was counted; None if it must be counted."""
    data = folder.kept(KIND, key)
    try:
        priced = None if data is None else from_data(data)
    except ValueError:
        return None
    return priced if priced is not None and priced.name == key["network"] else None


def keep_cost(key: Key, priced: Priced) -> None:
    """Keep the cost, if it comes back equal."""
    data = to_data(priced)
    try:
        same = from_data(data) == priced
    except ValueError:
        same = False
    if same:
        folder.keep(KIND, key, data)


def _of_a_library(network: str) -> bool:
    """Whether concord, torchvision or timm defines it: who imports timm may register networks there."""
    library, _, short = inside(network).rpartition("/")
    if ":" in network or is_darknet(network):
        return False
    own = short.partition("(")[0]
    if not library and own in names():
        return own in {row["name"] for row in listing()}
    timm = sys.modules.get("timm")
    if timm is None or not timm.is_model(short):
        return True
    return bool(timm.models.model_entrypoint(short).__module__.startswith("timm."))


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


@cache
def _sources() -> str:
    """A digest of the source files that make the figures."""
    root, digest = Path(concord.__file__).parent, hashlib.sha256()
    for part in COUNTING:
        place = root / part
        for file in sorted([place, *place.rglob("*")]):
            if file.suffix in (".py", ".json") and file.is_file():
                content = file.read_bytes()
                digest.update(f"{file.relative_to(root).as_posix()} {len(content)}\n".encode() + content)
    return digest.hexdigest()

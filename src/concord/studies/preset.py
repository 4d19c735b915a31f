"""Studies that come with concord."""

import tomllib
from importlib.resources import files
from typing import Any

from concord.errors import UsageError, suggestion

PRESETS = ("digits", "noel2017_mnist", "noel2017_notmnist", "noel2017_cifar10")


def preset(name: str) -> dict[str, Any]:
    """Tables of a preset, over those that its kind shares; UsageError naming the presets there are."""
    if name not in PRESETS:
        raise UsageError(f"no preset {name!r}{suggestion(name, PRESETS)}; there are: {', '.join(PRESETS)}")
    kind, _, data = name.partition("_")
    tables = _read(kind)
    for section, settings in (_read(name) if data else {}).items():
        tables[section] = tables.get(section, {}) | settings
    return tables


def _read(name: str) -> dict[str, Any]:
    file = files("concord.studies").joinpath(f"presets/{name}.toml")
    return tomllib.loads(file.read_text(encoding="utf-8"))

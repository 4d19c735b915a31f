"""The types of what state.json of a checkpoint holds, so that nobody behind has to ask."""

from collections.abc import Mapping
from typing import Any


def check_state(state: Mapping[str, Any]) -> None:
    """ValueError if a key that a state of concord may have is of another type; keys may be missing."""
    for key, kind in (
        ("position", dict),
        ("config", dict),
        ("interface", dict),
        ("fingerprint", str),
        ("metrics_sha256", str),
    ):
        if key in state and not isinstance(state[key], kind):
            raise ValueError(f"{key} is not {'a text' if kind is str else 'an object'}")
    for key, least in (("metrics_bytes", 0), ("steps", 1)):
        if key in state and (type(state[key]) is not int or not least <= state[key] < 2**53):
            raise ValueError(f"{key} is not a whole number from {least}")
    names = state.get("without_moments", [])
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ValueError("without_moments is not a list of names")
    if "config" in state:
        _check_settings(state["config"])


def _check_settings(config: Mapping[str, Any]) -> None:
    """The few settings that are looked at before all are checked."""
    members = config.get("members")
    if not isinstance(members, list) or not all(
        isinstance(m, dict) and isinstance(m.get("name"), str) and isinstance(m.get("network"), str)
        for m in members
    ):
        raise ValueError("config.members is not a list of members")
    train = config.get("train")
    optimizer = train.get("optimizer") if isinstance(train, dict) else None
    if not isinstance(optimizer, dict) or not isinstance(optimizer.get("kind"), str):
        raise ValueError("config.train.optimizer has no kind")
    assert isinstance(train, dict)
    for key in ("epochs", "patience"):
        value = train.get(key)
        if value is not None and (type(value) is not int or value < 1):
            raise ValueError(f"config.train.{key} is not a number from 1")

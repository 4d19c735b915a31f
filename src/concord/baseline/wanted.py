"""The methods that a user names and the numbers given for them, checked."""

from collections.abc import Mapping, Sequence
from numbers import Real
from typing import Any

from concord.baseline.methods import GROUPS, METHODS, MOST, WHOLE, Method
from concord.errors import UsageError, suggestion


def named(names: Sequence[str]) -> list[Method]:
    """The methods of these names and groups, each once; UsageError for none or for one that is not there."""
    known = [*METHODS, *GROUPS]
    for name in names:
        if name not in known:
            raise UsageError(f"no baseline {name!r}{suggestion(name, known)}; there are: {', '.join(known)}")
    if not names:
        raise UsageError(f"name at least one baseline; there are: {', '.join(known)}")
    flat = [one for name in names for one in GROUPS.get(name, (name,))]
    return [METHODS[name] for name in dict.fromkeys(flat)]


def check_options(methods: Sequence[Method], given: Mapping[str, float]) -> None:
    """UsageError for a setting that none of the methods has, or for a value that it cannot have."""
    for option, value in given.items():
        if option not in MOST:
            near = suggestion(str(option), MOST)
            raise UsageError(f"no baseline has a setting {option!r}{near}; there are: {', '.join(MOST)}")
        takers = [name for name, method in METHODS.items() if option in method.defaults]
        if not any(option in method.defaults for method in methods):
            raise UsageError(
                f"--{option} belongs to {', '.join(takers)}: add one of them, or leave --{option} out"
            )
        _check_value(option, value)


def _check_value(option: str, value: Any) -> None:
    kind = "whole number" if option in WHOLE else "number"
    is_number = isinstance(value, Real) and not isinstance(value, bool)
    if not is_number or not value > 0:
        raise UsageError(f"--{option} must be a positive {kind}, got {value!r}")
    if value > MOST[option]:
        raise UsageError(f"--{option} must be at most {MOST[option]:,}, got {value!r}")
    if option in WHOLE and value % 1:
        raise UsageError(f"--{option} must be a whole number, got {value!r}")

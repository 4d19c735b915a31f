"""Numbers with units on the command line: 100k, 1.5M, 200kB, 2ms."""

import re

from concord.errors import UsageError

NUMBER = re.compile(r"([0-9]*\.?[0-9]+)\s*([A-Za-z]*)", re.ASCII)
THOUSANDS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9}
BYTES = {"": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "kib": 2**10, "mib": 2**20, "gib": 2**30}
TIMES = {"": 1.0, "ms": 1.0, "us": 1e-3, "s": 1e3}
MOST = 10**18


def count(option: str, text: str | None) -> int | None:
    """``100k`` -> 100,000; UsageError for what is not a whole number above 0."""
    return None if text is None else _whole(option, text, THOUSANDS, "100000, 100k or 1.5M")


def size(option: str, text: str | None) -> int | None:
    """``200kB`` -> 200,000, ``1MiB`` -> 1,048,576."""
    return None if text is None else _whole(option, text, BYTES, "200000, 200kB or 1MiB")


def milliseconds(option: str, text: str | None) -> float | None:
    """``2`` and ``2ms`` -> 2.0, ``500us`` -> 0.5"""
    return None if text is None else _value(option, text, TIMES, "2, 2ms or 500us")


def _whole(option: str, text: str, units: dict[str, int], examples: str) -> int:
    value = _value(option, text, units, examples)
    if value != int(value):
        raise UsageError(f"{option} {text}: expected a whole number such as {examples}")
    return int(value)


def _value(option: str, text: str, units: dict[str, int] | dict[str, float], examples: str) -> float:
    found = NUMBER.fullmatch(text.strip())
    if found is None:
        raise UsageError(f"{option} {text}: expected a number such as {examples}")
    unit = found[2].lower()
    if unit not in units:
        known = ", ".join(name for name in units if name)
        raise UsageError(f"{option} {text}: {found[2]!r} is not a unit of it; expected one of {known}")
    value = round(float(found[1]) * units[unit], 9)
    if not 0 < value <= MOST:
        raise UsageError(f"{option} {text}: expected a number above 0, such as {examples}")
    return value

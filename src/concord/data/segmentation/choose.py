"""Samples that are held out: a fraction drawn from the seed, or given names and numbers."""

import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from concord.data import draws
from concord.errors import DataError, UsageError, amount, suggestion

RANGE = re.compile(r"(\d+)\s*-\s*(\d+)")


def held_out(
    names: Sequence[str], wanted: float | str, part: str, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Numbers of the samples that stay and of those that are taken, each ascending.

    ``wanted`` is a fraction of the samples, at least one if it is not 0, or a text such as "24-29" or
    "3, 7, left/12": names, and ranges of names that are numbers. UsageError for what matches nothing,
    DataError if nothing stays.
    """
    if isinstance(wanted, str):
        taken = np.array(sorted(_named(names, wanted, part)), np.int64)
    elif not 0 <= wanted < 1:
        raise UsageError(
            f"data.{part} is a fraction from 0 to below 1, or names such as '24-29'; got {wanted}"
        )
    else:
        count = round(wanted * len(names)) or int(wanted > 0)
        taken = np.sort(draws.permutation(len(names), part, seed)[:count])
    stay = np.setdiff1d(np.arange(len(names)), taken)
    if not len(stay):
        raise DataError(
            f"{amount(len(names), 'image')} with masks: data.{part}={wanted} leaves none to train on"
        )
    return stay, taken


def _named(names: Sequence[str], wanted: str, part: str) -> set[int]:
    number = {name: i for i, name in enumerate(names)}
    last = {name.rpartition("/")[2]: i for i, name in enumerate(names)}
    taken: set[int] = set()
    for piece in filter(None, map(str.strip, wanted.split(","))):
        between = RANGE.fullmatch(piece)
        if piece in number or piece in last:
            taken.add(number.get(piece, last.get(piece, -1)))
            continue
        low, high = (int(between[1]), int(between[2])) if between else (1, 0)
        found = {i for name, i in last.items() if name.isdecimal() and low <= int(name) <= high}
        if not found:
            known = suggestion(piece, names) or f"; names are such as {names[0]!r} and {names[-1]!r}"
            raise UsageError(f"data.{part}={wanted!r}: {piece!r} matches no image{known}")
        taken |= found
    if not taken:
        raise UsageError(f"data.{part}={wanted!r} names no image")
    return taken

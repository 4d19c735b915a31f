"""Run-length encoding of masks as COCO has it: columns first, runs of 0 and of 1 in turn, 0 first.

Source: T.-Y. Lin et al., "Microsoft COCO: Common Objects in Context", ECCV 2014, and the format of its
programming interface. As text, a run is the difference to the run two before it (from the fourth run on), in
groups of five bits, lowest first: bit 6 of a character says that another follows, 48 is added to each.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

FIRST = 48  # what is added to a group of bits to make a character
GROUP, MORE, NEGATIVE = 0x1F, 0x20, 0x10
FARTHEST = 3  # runs before this one are written as they are
MOST_GROUPS = 12  # of one number: 60 bits


def encode(mask: NDArray[np.bool_]) -> list[int]:
    """Lengths of the runs of a mask. Shape: (H, W) -> any number of runs, whose sum is H * W"""
    flat = mask.astype(bool).ravel(order="F")
    ends = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    runs = np.diff(np.concatenate([[0], ends, [flat.size]])).tolist()
    return [0, *runs] if flat.size and flat[0] else runs


def decode(runs: Sequence[int], size: tuple[int, int]) -> NDArray[np.bool_]:
    """The mask of runs; ValueError if they are negative or do not fill it. Shape: -> (H, W)"""
    height, width = size
    lengths = np.asarray(runs, np.int64)
    if lengths.ndim == 1 and (lengths < 0).any():
        raise ValueError(f"its runs hold {int(lengths.min())}, expected lengths of 0 or more")
    if lengths.ndim != 1 or int(lengths.sum()) != height * width:
        total = int(lengths.sum()) if lengths.ndim == 1 else "no list"
        raise ValueError(f"its runs add up to {total}, expected {height} x {width} = {height * width}")
    flat = np.repeat(np.arange(len(lengths)) % 2 == 1, lengths)
    return flat.reshape(width, height).T


def to_text(runs: Sequence[int]) -> str:
    """The runs as COCO's compressed text."""
    text: list[int] = []
    for i, run in enumerate(runs):
        number = run - runs[i - 2] if i >= FARTHEST else run
        more = True
        while more:
            group = number & GROUP
            number >>= 5  # keeps the sign
            more = number != (-1 if group & NEGATIVE else 0)
            text.append(FIRST + (group | MORE if more else group))
    return bytes(text).decode()


def from_text(text: str) -> list[int]:
    """The runs of COCO's compressed text; ValueError for a character or an end that it cannot have."""
    runs: list[int] = []
    number = groups = 0
    for place, character in enumerate(text):
        bits = ord(character) - FIRST
        if not 0 <= bits < 2 * MORE or groups == MOST_GROUPS:
            raise ValueError(f"character {place} of its counts is {character!r}, which is not compressed RLE")
        number |= (bits & GROUP) << (5 * groups)
        groups += 1
        if bits & MORE:
            continue
        if bits & NEGATIVE:
            number -= 1 << (5 * groups)
        runs.append(number + runs[-2] if len(runs) >= FARTHEST else number)
        number = groups = 0
    if groups:
        raise ValueError("its counts end within a number")
    return runs

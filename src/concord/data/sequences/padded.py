"""Sequences of different lengths in one tensor."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

NOTHING = -1  # a target where a sequence has ended, or where no answer is asked for


class Problem(NamedTuple):
    """Samples and their answers.

    ``x`` are symbols (N, T) or numbers (N, T, D), 0 behind an end; ``lengths`` (N,); ``y`` one answer for
    each sequence (N, ...), or for each step (N, T) with -1 where none is asked for.
    """

    x: Tensor
    lengths: Tensor
    y: Tensor


def padded(rows: Sequence[Sequence[int]], filler: int) -> Tensor:
    """Shape: N rows of at most T numbers -> (N, T) int64"""
    width = max(map(len, rows))
    return torch.tensor([[*row, *[filler] * (width - len(row))] for row in rows], dtype=torch.int64)


def of_rows(inputs: Sequence[Sequence[int]], answers: Sequence[Sequence[int]]) -> Problem:
    """Symbols, and an answer for each of their steps."""
    lengths = torch.tensor([len(row) for row in inputs])
    return Problem(padded(inputs, 0), lengths, padded(answers, NOTHING))

"""Regression: numbers that should be close to other numbers."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from concord.errors import ShapeError
from concord.tasks.task import Compared, Watched

LEAST_SPREAD = 1e-12  # of the mean square of the targets; a variance below it is rounding


@dataclass(frozen=True)
class NumberFigures:
    """How well one member does, as means over all numbers of all samples."""

    mse: float  # squared error
    mae: float  # absolute error
    r2: float | None  # 1 - mse / variance of the targets; None where these do not vary


@dataclass(frozen=True)
class NumberScores:
    """Figures of every member and of the ensemble."""

    members: Mapping[str, NumberFigures]
    ensemble: NumberFigures

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Regress:
    """Outputs and targets are numbers of one shape (B, ...); the loss is the mean squared error."""

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        """1/D sum_d (output_d - target_d)^2; ShapeError for other shapes. Shape: (B, ...) twice -> (B,)"""
        _require(output, target)
        return (_rows(output) - _rows(target)).square().mean(1)

    def compare(self, output: Tensor, target: Tensor | None) -> Compared:
        """One row for each sample, of weight 1/D, so that ``l2`` counts like the loss."""
        rows = _rows(output)
        return Compared(rows, torch.full_like(rows[:, 0], 1 / rows.shape[1]))

    def combine(self, outputs: Sequence[Tensor]) -> Tensor:
        """Mean of outputs. Shape: M times (B, ...) -> (B, ...)"""
        return torch.stack([output.float() for output in outputs]).mean(0)

    def size(self, members: int) -> int:
        """Numbers in a tally."""
        return 3 + 2 * (members + 1)

    def tally(self, outputs: Sequence[Tensor], targets: Sequence[Tensor]) -> Tensor:
        """How many numbers, their sum and that of their squares; squared and absolute errors of each."""
        y = _rows(targets[0]).double()
        head = torch.stack([torch.full_like(y[0, 0], y.numel()), y.sum(), y.square().sum()])
        errors = [_rows(output).double() - y for output in (*outputs, self.combine(outputs))]
        own = [torch.stack([e.square().sum(), e.abs().sum()]) for e in errors]
        return torch.cat([head, *own])

    def scores(self, tally: Tensor, names: Sequence[str]) -> NumberScores:
        """Scores of every member and of the ensemble."""
        n, total, squares = tally[:3].tolist()
        variance = squares / n - (total / n) ** 2
        varies = variance > LEAST_SPREAD * squares / n
        rows = [
            NumberFigures(square / n, absolute / n, 1 - square / n / variance if varies else None)
            for square, absolute in tally[3:].view(-1, 2).tolist()
        ]
        return NumberScores(dict(zip(names, rows[:-1], strict=True)), rows[-1])

    def read(self, plain: Mapping[str, Any]) -> NumberScores:
        """The scores that ``to_dict`` wrote down."""
        keys = NumberFigures.__dataclass_fields__
        members, ensemble = plain["members"], plain["ensemble"]
        rows = {name: NumberFigures(**{key: row[key] for key in keys}) for name, row in members.items()}
        return NumberScores(rows, NumberFigures(**{key: ensemble[key] for key in keys}))

    def watched(self, scores: NumberScores) -> Watched:
        """The mean squared error of the ensemble."""
        return Watched(scores.ensemble.mse)

    def kept(self, output: Tensor) -> Mapping[str, Tensor]:
        """The numbers of every sample."""
        return {"numbers": output.float()}


def _rows(numbers: Tensor) -> Tensor:
    """The numbers of each sample in a row. Shape: (B, ...) -> (B, D)"""
    return numbers.float().reshape(len(numbers), -1)


def _require(output: Tensor, target: Tensor) -> None:
    """ShapeError unless both have one shape: torch would silently broadcast (B, 1) against (B,)."""
    if output.shape != target.shape or not output.numel():
        given = tuple(output.shape)
        raise ShapeError(f"a member must give numbers {tuple(target.shape)} as its targets are, got {given}")

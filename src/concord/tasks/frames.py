"""The next frames of a film, whose pixels are shares of black and white.

Source: X. Shi et al., NeurIPS 2015, section 4.1: cross entropy of every pixel, summed over a frame.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from concord.consensus.objective import ensemble_logits
from concord.errors import DataError, ShapeError
from concord.tasks.task import Compared, Watched


@dataclass(frozen=True)
class FrameFigures:
    """How well one member does."""

    nll: float  # nats per frame; above 0 even for the truth itself where pixels are grey
    squared_error: float  # per frame, the sum over its pixels


@dataclass(frozen=True)
class FrameScores:
    """Figures of every member and of the ensemble."""

    members: Mapping[str, FrameFigures]
    ensemble: FrameFigures

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Frames:
    """Outputs are logits of pixels (B, T, C, H, W), targets their values from 0 to 1.

    Of a test set the first ``keeps`` films are kept.
    """

    keeps: int = 6

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        """-1/T sum over pixels of y ln p + (1 - y) ln (1 - p), p = sigmoid(output): nats per frame.

        Raises ShapeError for other shapes, DataError for values outside of 0 to 1. Shape: -> (B,)
        """
        _require(output, target)
        return _nats(output.float(), target.float()).sum((2, 3, 4)).mean(1)

    def compare(self, output: Tensor, target: Tensor | None) -> Compared:
        """One row for each pixel: the logits of white and of black; those of a film weigh 1 together."""
        z = output.float().flatten()
        rows = torch.stack([z, torch.zeros_like(z)], 1)
        return Compared(rows, torch.full_like(z, 1 / output[0].numel()))

    def combine(self, outputs: Sequence[Tensor]) -> Tensor:
        """Mean of logits. Shape: M times (B, T, C, H, W) -> (B, T, C, H, W)"""
        return ensemble_logits([output.float() for output in outputs])

    def size(self, members: int) -> int:
        """Numbers in a tally."""
        return 1 + 2 * (members + 1)

    def tally(self, outputs: Sequence[Tensor], targets: Sequence[Tensor]) -> Tensor:
        """Frames; nats and squared errors of each member and of the ensemble."""
        y = targets[0].float()
        own = []
        for output in (*outputs, self.combine(outputs)):
            z = output.float()
            own += [_nats(z, y).double().sum(), (z.sigmoid() - y).square().double().sum()]
        return torch.stack([own[0].new_tensor(y.shape[0] * y.shape[1]), *own])

    def scores(self, tally: Tensor, names: Sequence[str]) -> FrameScores:
        """Scores of every member and of the ensemble."""
        rows = [FrameFigures(*row) for row in (tally[1:] / tally[0]).view(-1, 2).tolist()]
        return FrameScores(dict(zip(names, rows[:-1], strict=True)), rows[-1])

    def read(self, plain: Mapping[str, Any]) -> FrameScores:
        """The scores that ``to_dict`` wrote down."""
        keys = FrameFigures.__dataclass_fields__
        members, ensemble = plain["members"], plain["ensemble"]
        rows = {name: FrameFigures(**{key: row[key] for key in keys}) for name, row in members.items()}
        return FrameScores(rows, FrameFigures(**{key: ensemble[key] for key in keys}))

    def watched(self, scores: FrameScores) -> Watched:
        """The nats per frame of the ensemble."""
        return Watched(scores.ensemble.nll)

    def kept(self, output: Tensor) -> Mapping[str, Tensor]:
        """The frames as grey levels of 0 to 255."""
        return {"frames": (255 * output.float().sigmoid()).round().to(torch.uint8)}


def _nats(z: Tensor, y: Tensor) -> Tensor:
    """-(y ln p + (1 - y) ln (1 - p)) with p = sigmoid(z), of every pixel."""
    return F.binary_cross_entropy_with_logits(z, y, reduction="none")


def _require(output: Tensor, target: Tensor) -> None:
    if target.ndim != 5 or output.shape != target.shape or not target.shape[1]:
        expected = tuple(target.shape) if target.ndim == 5 else "(B, T, C, H, W)"
        given = f"{tuple(output.shape)} for targets {tuple(target.shape)}"
        raise ShapeError(f"a member must give logits of frames {expected}, got {given}")
    low, high = target.aminmax()
    if low < 0 or high > 1:
        given = f"{float(low):g} to {float(high):g}"
        raise DataError(f"pixels of frames are from 0 to 1, got {given}; divide them by their largest value")

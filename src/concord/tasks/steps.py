"""A class for every step of a sequence: segments, and the next symbol of a text."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from math import log
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from concord.consensus.objective import ensemble_logits
from concord.errors import ShapeError
from concord.tasks.task import Compared, Watched

PADDING = -1  # the target of a step that is not there


@dataclass(frozen=True)
class StepFigures:
    """How well one member does: fractions, and nats per step."""

    error: float  # wrong steps
    nll: float
    bits: float  # nll / ln 2, of a text its bits per character
    sequence_error: float  # sequences with a wrong step


@dataclass(frozen=True)
class StepScores:
    """Figures of every member and of the ensemble; ``agreement`` is the share of steps on which all agree."""

    members: Mapping[str, StepFigures]
    ensemble: StepFigures
    agreement: float

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Steps:
    """Outputs are logits for every step (B, T, K), targets classes (B, T), -1 where a sequence has ended.

    The loss of a sequence is its mean cross entropy per step, so that short ones weigh as much as long ones.
    ``watch`` is the figure that early stopping looks at: "error" of steps, or "nll" for a language.
    """

    classes: int
    watch: Literal["error", "nll"] = "error"

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        """-1/T sum_t ln softmax(output_t)[target_t]. Shape: (B, T, K), (B, T) -> (B,)

        Raises ShapeError for other shapes, and for a sequence without a step.
        """
        self._require(output, target)
        nats = F.cross_entropy(output.float().transpose(1, 2), target, reduction="none", ignore_index=PADDING)
        return nats.sum(1) / (target != PADDING).sum(1)

    def compare(self, output: Tensor, target: Tensor | None) -> Compared:
        """One row for each step that is there; those of a sequence weigh 1 together."""
        if target is None:  # unlabelled sequences say nothing of their ends
            rows = output.float().flatten(0, 1)
            return Compared(rows, torch.full_like(rows[:, 0], 1 / output.shape[1]))
        there = target != PADDING
        share = (1 / there.sum(1, keepdim=True)).expand(target.shape)
        return Compared(output[there].float(), share[there], target[there])

    def combine(self, outputs: Sequence[Tensor]) -> Tensor:
        """Mean of logits. Shape: M times (B, T, K) -> (B, T, K)"""
        return ensemble_logits([output.float() for output in outputs])

    def size(self, members: int) -> int:
        """Numbers in a tally."""
        return 3 + 3 * (members + 1)

    def tally(self, outputs: Sequence[Tensor], targets: Sequence[Tensor]) -> Tensor:
        """Sequences, steps, steps on which all agree; then wrong steps, nats, wrong sequences of each."""
        target = targets[0]
        there = target != PADDING
        log_p = torch.stack([*outputs, self.combine(outputs)]).double().log_softmax(-1)  # (M + 1, B, T, K)
        votes = log_p.argmax(-1)
        wrong = (votes != target) & there
        named = target.clamp(min=0).expand(votes.shape)
        nats = -(log_p.gather(-1, named[..., None])[..., 0] * there).sum((1, 2))
        agreed = ((votes[:-1] == votes[0]).all(0) & there).sum()
        head = torch.stack([torch.full_like(agreed, len(target)), there.sum(), agreed]).double()
        own = torch.stack([wrong.sum((1, 2)).double(), nats, wrong.any(2).sum(1).double()], 1)
        return torch.cat([head, own.flatten()])

    def scores(self, tally: Tensor, names: Sequence[str]) -> StepScores:
        """Scores of every member and of the ensemble."""
        sequences, steps, agreed = tally[:3].tolist()
        rows = [
            StepFigures(wrong / steps, nats / steps, nats / steps / log(2), whole / sequences)
            for wrong, nats, whole in tally[3:].view(-1, 3).tolist()
        ]
        return StepScores(dict(zip(names, rows[:-1], strict=True)), rows[-1], agreed / steps)

    def read(self, plain: Mapping[str, Any]) -> StepScores:
        """The scores that ``to_dict`` wrote down."""
        keys = StepFigures.__dataclass_fields__
        members, ensemble = plain["members"], plain["ensemble"]
        rows = {name: StepFigures(**{key: row[key] for key in keys}) for name, row in members.items()}
        return StepScores(rows, StepFigures(**{key: ensemble[key] for key in keys}), plain["agreement"])

    def watched(self, scores: StepScores) -> Watched:
        """The figure of the ensemble that ``watch`` names."""
        return Watched(getattr(scores.ensemble, self.watch))

    def kept(self, output: Tensor) -> Mapping[str, Tensor]:
        """The likeliest class of every step."""
        return {"labels": output.argmax(-1)}

    def _require(self, output: Tensor, target: Tensor) -> None:
        shape = (*target.shape, self.classes)
        if target.ndim != 2 or output.shape != shape:
            raise ShapeError(f"a member must give logits {shape} for these steps, got {tuple(output.shape)}")
        if empty := (target == PADDING).all(1).nonzero().flatten().tolist():
            raise ShapeError(f"sample {empty[0]} of the batch has no step with a class")

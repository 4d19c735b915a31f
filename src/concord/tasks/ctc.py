"""Temporal classification: a labelling for a sequence whose alignment with its steps is unknown.

Source: A. Graves, S. Fernandez, F. Gomez, J. Schmidhuber, "Connectionist temporal classification", ICML 2006;
Kalkan. The loss is torch's.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from concord.consensus.objective import ensemble_logits
from concord.errors import DataError, ShapeError
from concord.tasks.decode import BLANK, edits, greedy, steps_needed
from concord.tasks.steps import PADDING
from concord.tasks.task import Compared, Watched

Target = Mapping[
    str, Tensor
]  # "labels" (B, L), -1 behind the end, and "steps" (B,), the length of each input


@dataclass(frozen=True)
class LabelFigures:
    """How well one member does."""

    error: float  # label error rate: edits per label of the truth, by best path decoding
    nll: float  # nats per sequence
    sequence_error: float  # labellings that are wrong somewhere


@dataclass(frozen=True)
class LabelScores:
    """Figures of every member and of the ensemble."""

    members: Mapping[str, LabelFigures]
    ensemble: LabelFigures

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Labelling:
    """Outputs are logits of every step (B, T, K), of which class 0 is the blank.

    The loss is -ln of the sum over all paths with the labelling of the truth, nats per sequence.
    """

    classes: int  # with the blank

    def loss(self, output: Tensor, target: Target) -> Tensor:
        """torch.nn.functional.ctc_loss. Shape: (B, T, K), {"labels": (B, L), "steps": (B,)} -> (B,)

        Raises ShapeError for other shapes, DataError for a labelling that has no path of that many steps.
        """
        labels, steps = target["labels"], target["steps"]
        if output.ndim != 3 or output.shape[2] != self.classes or len(output) != len(labels):
            expected = f"({len(labels)}, T, {self.classes})"
            raise ShapeError(f"a member must give logits {expected}, got {tuple(output.shape)}")
        require_paths(labels, steps.clamp(max=output.shape[1]))
        log_p = output.float().log_softmax(-1).transpose(0, 1)  # (T, B, K)
        return F.ctc_loss(
            log_p, labels.clamp(min=0), steps, (labels != PADDING).sum(1), blank=BLANK, reduction="none"
        )

    def compare(self, output: Tensor, target: Target | None) -> Compared:
        """One row for each step that is there; those of a sequence weigh 1 together."""
        steps = output.new_full((len(output),), output.shape[1]) if target is None else target["steps"]
        there = torch.arange(output.shape[1], device=output.device) < steps[:, None]
        share = (1 / steps[:, None]).expand(there.shape)
        return Compared(output[there].float(), share[there].float())

    def combine(self, outputs: Sequence[Tensor]) -> Tensor:
        """Mean of logits. Shape: M times (B, T, K) -> (B, T, K)"""
        return ensemble_logits([output.float() for output in outputs])

    def size(self, members: int) -> int:
        """Numbers in a tally."""
        return 2 + 3 * (members + 1)

    def tally(self, outputs: Sequence[Tensor], targets: Sequence[Target]) -> Tensor:
        """Sequences, labels; edits, nats, wrong sequences of each member and of the ensemble."""
        target = targets[0]
        wanted = labellings(target["labels"])
        rows = [torch.tensor([len(wanted), sum(map(len, wanted))], dtype=torch.float64)]
        for output in (*outputs, self.combine(outputs)):
            given = greedy(output, target["steps"])
            apart = [edits(a, b) for a, b in zip(given, wanted, strict=True)]
            nats = self.loss(output, target).double().sum().item()
            rows.append(torch.tensor([sum(apart), nats, sum(map(bool, apart))], dtype=torch.float64))
        return torch.cat(rows)

    def scores(self, tally: Tensor, names: Sequence[str]) -> LabelScores:
        """Scores of every member and of the ensemble."""
        sequences, labels = tally[:2].tolist()
        rows = [
            LabelFigures(apart / max(labels, 1), nats / sequences, wrong / sequences)
            for apart, nats, wrong in tally[2:].view(-1, 3).tolist()
        ]
        return LabelScores(dict(zip(names, rows[:-1], strict=True)), rows[-1])

    def read(self, plain: Mapping[str, Any]) -> LabelScores:
        """The scores that ``to_dict`` wrote down."""
        keys = LabelFigures.__dataclass_fields__
        rows = [{key: row[key] for key in keys} for row in (*plain["members"].values(), plain["ensemble"])]
        figures = [LabelFigures(**row) for row in rows]
        return LabelScores(dict(zip(plain["members"], figures[:-1], strict=True)), figures[-1])

    def watched(self, scores: LabelScores) -> Watched:
        """The label error rate of the ensemble."""
        return Watched(scores.ensemble.error)

    def kept(self, output: Tensor) -> Mapping[str, Tensor]:
        """The likeliest class of every step."""
        return {"path": output.argmax(-1)}


def labellings(labels: Tensor) -> list[tuple[int, ...]]:
    """Shape: (B, L), -1 behind the end -> B labellings"""
    return [tuple(label for label in row if label != PADDING) for row in labels.tolist()]


def _sample(b: int) -> str:
    return f"sample {b}"


def require_paths(labels: Tensor, steps: Tensor, name: Callable[[int], str] = _sample) -> None:
    """DataError for the first sample whose labelling has no path: its loss would be infinite.

    ``name`` is what the message calls a sample.

    Shape: (B, L), -1 behind the end, (B,)
    """
    for b, (row, length) in enumerate(zip(labellings(labels), steps.tolist(), strict=True)):
        if (needed := steps_needed(row)) > length:
            raise DataError(
                f"{name(b)}: {len(row)} labels need at least {needed} steps (one for each, and a blank"
                f" between two alike), it has {length}; shorten its labels or give more steps"
            )

"""Classification: one label per sample.

Source: C. Guo, G. Pleiss, Y. Sun, K. Weinberger, "On calibration of modern neural networks", ICML 2017,
section 2 (expected calibration error, 15 bins).
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from math import isfinite
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from concord.consensus.kdcl import error_covariance
from concord.consensus.names import ENSEMBLE
from concord.consensus.objective import ensemble_log_probabilities, ensemble_logits
from concord.errors import ShapeError, UsageError
from concord.tasks.task import Compared, Watched

BINS = 15
HEAD = 3 + 3 * BINS  # samples, mistakes, nats; samples, confidence and right answers of every bin
NO_LABEL = -(2**62)


@dataclass(frozen=True)
class Figures:
    """How well one classifier does: fractions, and nats per sample."""

    error: float
    nll: float
    ece: float
    balanced_accuracy: float  # mean recall of the classes that have samples

    @classmethod
    def read(cls, plain: Mapping[str, float]) -> "Figures":
        """The figures among plain values, which may hold more than these."""
        return cls(**{key: plain[key] for key in cls.__dataclass_fields__})


@dataclass(frozen=True, repr=False)
class ClassScores:
    """Figures of every member and of the ensemble, and how members differ.

    ``ensemble`` is the mean of logits, ``ensemble_probabilities`` the mean of probabilities; ``agreement`` is
    the share of samples on which all members name the same class; ``disagreement`` that on which a pair does
    not; ``error_covariance`` the second moment of errors (``consensus.kdcl.error_covariance``);
    ``error_correlation`` the correlation of mistakes, None for a member that makes none or only such. Where
    members had samples of their own, whatever compares them is None, and so is ``together``, the field behind
    ``ensemble``.
    """

    members: Mapping[str, Figures]
    together: Figures | None
    ensemble_probabilities: Figures | None
    agreement: float | None
    disagreement: list[list[float]] | None
    error_covariance: list[list[float]] | None
    error_correlation: list[list[float | None]] | None

    def __repr__(self) -> str:
        rows = self.members if self.together is None else {**self.members, ENSEMBLE: self.together}
        listed = "; ".join(f"{name}: error {row.error:.4g}, nll {row.nll:.4g}" for name, row in rows.items())
        return f"ClassScores({listed})"

    @property
    def ensemble(self) -> Figures:
        """Figures of the mean of logits; UsageError where members had samples of their own."""
        if self.together is None:
            raise UsageError("members had samples of their own, so there are no figures of the ensemble")
        return self.together

    def to_dict(self) -> dict[str, Any]:
        """The same as plain values, as a line of metrics.jsonl holds them."""
        plain = asdict(self)
        return {"members": plain.pop("members"), "ensemble": plain.pop("together"), **plain}


@dataclass(frozen=True)
class Classify:
    """Outputs are logits (B, K); the loss is cross entropy, with label smoothing if asked for."""

    classes: int
    label_smoothing: float = 0.0

    def loss(self, output: Tensor, labels: Tensor) -> Tensor:
        """-ln softmax(output)[label]. Shape: (B, K), (B,) -> (B,)

        Labels may also be probabilities (B, K), as mixed images have. PyTorch's default ignore_index of -100
        would silently drop samples, so it is moved out of the way.
        """
        if output.ndim != 2 or output.shape[1] != self.classes:
            raise ShapeError(f"a member must give (B, {self.classes}) logits, got {tuple(output.shape)}")
        return F.cross_entropy(
            output.float(),
            labels,
            reduction="none",
            label_smoothing=self.label_smoothing,
            ignore_index=NO_LABEL,
        )

    def compare(self, output: Tensor, labels: Tensor | None) -> Compared:
        """One row for each sample: its logits, in float32 whatever they were computed in."""
        rows = output.float()
        return Compared(rows, torch.ones_like(rows[:, 0]), labels)

    def combine(self, outputs: Sequence[Tensor]) -> Tensor:
        """Mean of logits, as Noel 2017 predicts. Shape: M times (B, K) -> (B, K)"""
        return ensemble_logits([output.float() for output in outputs])

    def watched(self, scores: ClassScores) -> Watched:
        """The error of the ensemble."""
        return Watched(scores.ensemble.error)

    def kept(self, output: Tensor) -> Mapping[str, Tensor]:
        """The logits of every sample."""
        return {"logits": output.float()}

    def tally(self, logits: Sequence[Tensor], labels: Sequence[Tensor]) -> Tensor:
        """Everything that ``scores`` needs, as sums: tallies of two batches add up to the tally of both.

        One tensor of labels for all members says that row b is the same sample for each. Where members have
        labels of their own, what compares members stays 0.

        Shape: M times (B, K), M times (B,) -> (2 + (M + 2) (48 + 2 K) + 3 M^2,) float64
        """
        aligned = all(y is labels[0] for y in labels)
        logits, labels = [z.float() for z in logits], [_named(y) for y in labels]
        rows = [*logits, ensemble_logits(logits), ensemble_log_probabilities(logits)]
        log_p = torch.stack(rows).double().log_softmax(-1)  # (M + 2, B, K)
        truth = torch.stack([*labels, labels[0], labels[0]])  # (M + 2, B)
        own = _own(log_p, truth)
        if not aligned:
            own[-2:] = 0
            return torch.cat([own.new_zeros(2), own.flatten(), own.new_zeros(3 * len(logits) ** 2)])
        return torch.cat([_between(log_p[:-2], truth[0]), own.flatten(), _pairs(log_p[:-2], truth[0])])

    def scores(self, tally: Tensor, names: Sequence[str]) -> ClassScores:
        """Scores of every member and of the ensemble."""
        m = len(names)
        compared, agreed = tally[:2].tolist()
        own = self._rows(tally, m)
        pairs = tally[2 + own.numel() :].view(3, m, m) / max(compared, 1)
        *members, ensemble, probabilities = [_score(row) for row in own]
        named = {name: row for name, row in zip(names, members, strict=True) if row is not None}
        if not compared:
            return ClassScores(named, ensemble, probabilities, None, None, None, None)
        disagreement, covariance = pairs[0].tolist(), pairs[1].tolist()
        correlation = _correlation(pairs[2])
        agreement = agreed / compared
        return ClassScores(named, ensemble, probabilities, agreement, disagreement, covariance, correlation)

    def read(self, plain: Mapping[str, Any]) -> ClassScores:
        """The scores that ``to_dict`` wrote down."""
        own = ("agreement", "disagreement", "error_covariance", "error_correlation")
        figures = {name: Figures.read(row) for name, row in plain["members"].items()}
        both = [plain[key] and Figures.read(plain[key]) for key in ("ensemble", "ensemble_probabilities")]
        return ClassScores(figures, both[0], both[1], **{key: plain[key] for key in own})

    def size(self, members: int) -> int:
        """Numbers in a tally."""
        return 2 + (members + 2) * (HEAD + 2 * self.classes) + 3 * members**2

    def by_class(self, tally: Tensor, members: int) -> tuple[Tensor, Tensor]:
        """Samples of every class, and how many of them each member and the ensemble (last) name rightly.

        Recall is the second over the first. Shape: a tally -> (K,), (M + 1, K)
        """
        samples, right = self._rows(tally, members)[:-1, HEAD:].unflatten(1, (2, self.classes)).unbind(1)
        return samples[-1], right

    def _rows(self, tally: Tensor, members: int) -> Tensor:
        """Sums of each member, of the ensemble, of the mean of probabilities. Shape: -> (M + 2, 48 + 2 K)"""
        width = HEAD + 2 * self.classes
        return tally[2 : 2 + (members + 2) * width].view(members + 2, width)


def _own(log_p: Tensor, labels: Tensor) -> Tensor:
    """Sums for each row by itself. Shape: (R, B, K), (R, B) -> (R, 48 + 2 K)"""
    confidence, vote = log_p.max(-1)
    right = (vote == labels).double()
    confidence = confidence.exp()
    inner = torch.linspace(0, 1, BINS + 1, dtype=torch.float64, device=log_p.device)[1:-1]
    bins = torch.bucketize(confidence, inner)  # (lower, upper]
    counts = torch.stack([torch.ones_like(right), confidence, right])  # (3, R, B)
    filled = torch.zeros(3, len(log_p), BINS, dtype=torch.float64, device=log_p.device)
    filled.scatter_add_(2, bins.expand(3, -1, -1), counts)
    nll = -log_p.gather(-1, labels.unsqueeze(-1)).squeeze(-1).sum(-1)
    head = torch.stack([torch.full_like(nll, labels.shape[1]), (1 - right).sum(-1), nll], 1)  # (R, 3)
    classes = torch.zeros(2, len(log_p), log_p.shape[-1], dtype=torch.float64, device=log_p.device)
    classes.scatter_add_(2, labels.expand(2, -1, -1), counts[::2])  # all samples, and those named rightly
    return torch.cat([head, *(sums.permute(1, 0, 2).flatten(1) for sums in (filled, classes))], 1)


def _between(log_p: Tensor, labels: Tensor) -> Tensor:
    """How many samples, and on how many all members agree. Shape: (M, B, K), (B,) -> (2,)"""
    votes = log_p.argmax(-1)
    agreed = (votes == votes[0]).all(0).double().sum()
    return torch.stack([torch.full_like(agreed, len(labels)), agreed])


def _pairs(log_p: Tensor, labels: Tensor) -> Tensor:
    """Counts of disagreement, sums of error products, counts of common mistakes.

    Shape: (M, B, K), (B,) -> (3 M^2,)
    """
    votes = log_p.argmax(-1)
    differ = (votes[:, None] != votes[None]).double().sum(-1)  # (M, M)
    products = error_covariance(log_p, labels) * len(labels)
    wrong = (votes != labels).double()
    return torch.cat([differ.flatten(), products.flatten(), (wrong @ wrong.T).flatten()])


def _correlation(both: Tensor) -> list[list[float | None]]:
    """r_ij = (b_ij - e_i e_j) / sqrt(e_i (1 - e_i) e_j (1 - e_j)), with b_ij the share that both get wrong.

    e_i = b_ii. 1 on the diagonal; None where a member is always or never wrong. Independent mistakes have
    r = 0, and the closer r is to 1 the less is gained by asking both. Shape: (M, M) -> (M, M)
    """
    errors = both.diagonal()
    spread = (errors * (1 - errors)).sqrt()
    r = ((both - errors[:, None] * errors) / (spread[:, None] * spread)).fill_diagonal_(1.0)
    return [[x if isfinite(x) else None for x in row] for row in r.tolist()]


def _named(labels: Tensor) -> Tensor:
    """Class numbers; of probabilities (B, K) the likeliest class."""
    return labels if labels.ndim == 1 else labels.argmax(-1)


def _score(row: Tensor) -> Figures | None:
    """Error, mean negative log-likelihood, sum_b |right_b - confidence_b| / N, and mean recall of one row."""
    samples, wrong, nll = row[:3].tolist()
    if not samples:
        return None
    _, confidence, right = row[3:HEAD].view(3, BINS)
    ece = (right - confidence).abs().sum().item() / samples
    of_class, named = row[HEAD:].view(2, -1)
    balanced = (named / of_class)[of_class > 0].mean().item()
    return Figures(wrong / samples, nll / samples, ece, balanced)

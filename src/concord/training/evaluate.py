"""What members say about held-out samples."""

from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor, nn

from concord.errors import ShapeError
from concord.tasks.classify import Classify
from concord.training.agreement import Sample, ask

Samples = Iterable[tuple[Sample, Tensor]]
Precision = Sequence[torch.dtype]  # of each member; empty: float32


class InterruptedEvaluation(Exception):
    """A stop was asked for between two batches."""


@torch.no_grad()
def outputs(members: Sequence[nn.Module], x: Sample, precision: Precision = ()) -> list[Tensor]:
    """Logits of every member in evaluation mode, given as float32 whatever they were computed in.

    Shape: (B, C, H, W) -> M times (B, K)
    """
    said = []
    for member, low in zip(members, precision or [torch.float32] * len(members), strict=True):
        member.eval()
        said.append(ask(member, x, low).float())
    return said


def tally(
    members: Sequence[nn.Module],
    samples: Samples,
    task: Classify,
    precision: Precision = (),
    stop: Callable[[], bool] = lambda: False,
) -> Tensor:
    """Sum of the task's tallies over all batches; ``task.scores`` makes figures of it.

    Raises InterruptedEvaluation when ``stop`` says so, and ShapeError when there are no samples.
    """
    total: Tensor | None = None
    for x, y in samples:
        if stop():
            raise InterruptedEvaluation
        part = task.tally(outputs(members, x, precision), [y] * len(members))
        total = part if total is None else total + part
    if total is None:
        raise ShapeError("there are no samples to evaluate on")
    return total


def logits(
    members: Sequence[nn.Module],
    samples: Samples,
    precision: Precision = (),
    stop: Callable[[], bool] = lambda: False,
) -> Tensor:
    """What every member says about every sample, on the CPU. Shape: -> (M, N, K)

    Raises InterruptedEvaluation when ``stop`` says so.
    """
    said = []
    for x, _ in samples:
        if stop():
            raise InterruptedEvaluation
        said.append(torch.stack(outputs(members, x, precision)).cpu())
    return torch.cat(said, 1)

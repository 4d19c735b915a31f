"""What members say about held-out samples."""

from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor, nn

from concord.errors import ShapeError
from concord.tasks.classify import Classify

Samples = Iterable[tuple[Tensor, Tensor]]


class InterruptedEvaluation(Exception):
    """A stop was asked for between two batches."""


@torch.no_grad()
def outputs(members: Sequence[nn.Module], x: Tensor, precision: torch.dtype = torch.float32) -> list[Tensor]:
    """Logits of every member in evaluation mode, in float32. Shape: (B, C, H, W) -> M times (B, K)"""
    for member in members:
        member.eval()
    low = precision != torch.float32
    with torch.autocast(x.device.type, precision, enabled=low):
        return [member(x).float() for member in members]


def tally(
    members: Sequence[nn.Module],
    samples: Samples,
    task: Classify,
    precision: torch.dtype = torch.float32,
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


def logits(members: Sequence[nn.Module], samples: Samples, precision: torch.dtype = torch.float32) -> Tensor:
    """What every member says about every sample, on the CPU. Shape: -> (M, N, K)"""
    said = [torch.stack(outputs(members, x, precision)).cpu() for x, _ in samples]
    return torch.cat(said, 1)

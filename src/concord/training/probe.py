"""Answers of a member to fixed inputs, kept with its weights: whether one that is built later is the same.

  beside/asked    the shape of one input
  beside/answer   outputs in evaluation mode, (B, N) float32; NaN where they do not repeat

What a module draws while it is imported, from the clock or from the order of a set, is in no state dict. A
member that has the same weights and answers otherwise was built otherwise.
"""

from collections.abc import Mapping, Sequence
from math import prod

import torch
from torch import Tensor, nn

from concord.errors import CheckpointError
from concord.training.beside import PREFIX
from concord.training.devices import home_of
from concord.training.evaluate import output_of
from concord.training.foreign import blamed
from concord.training.seeding import seeded
from concord.training.trial import put_back

ASKED, ANSWER = f"{PREFIX}asked", f"{PREFIX}answer"
SAMPLES = 4
NUMBERS = 64  # of an output, at most
LARGEST = 2**24  # numbers of all inputs
NEARBY = 1e-3  # noise on inputs, far above what another device or version of torch rounds differently
OF_SPREAD, OF_SIZE = 0.05, 2e-3  # how far apart equal answers may be
Shape = Sequence[int]


def probed(name: str, member: nn.Module, shape: Shape | None) -> dict[str, Tensor]:
    """What a checkpoint holds of the answers; nothing for a member whose answers do not repeat.

    They are asked for twice, with other seeds and slightly other inputs. A row that differs is not kept: it
    depends on chance, as with dropout that stays on, or on rounding, as with binary activations, and would
    raise false alarms.
    """
    if shape is None or not 0 < SAMPLES * prod(shape) <= LARGEST:
        return {}
    x = _inputs(shape)
    try:
        one = _answer(name, member, x, 0)
        two = _answer(name, member, x + NEARBY * x.roll(1, 0), 1)
    except Exception:  # noise may be nothing that it can take
        return {}
    if one is None or two is None or one.shape != two.shape:
        return {}
    sound = ((one - two).abs() <= _tolerance(one) / 2).all(1) & one.isfinite().all(1)
    if not sound.any():
        return {}
    kept = torch.where(sound[:, None], one, torch.nan)
    return {ASKED: torch.tensor(list(shape), dtype=torch.int64), ANSWER: kept}


def fault(name: str, member: nn.Module, saved: Mapping[str, Tensor]) -> str | None:
    """What is wrong with a member that was filled from a checkpoint, if it answers otherwise than it did.

    CheckpointError for answers that no training keeps, UsageError if the member fails.
    """
    if ANSWER not in saved or ASKED not in saved:
        return None
    shape, before = _checked(name, saved)
    with blamed(name, member, "when its answers were compared with those that were saved"):
        now = _answer(name, member, _inputs(shape), 0)
    if now is not None and now.shape == before.shape:
        sound = before.isfinite().all(1)
        apart = (now - before)[sound].abs().max().item()
        if apart <= _tolerance(before[sound]):
            return None
        said = f"the outputs for {int(sound.sum())} fixed inputs differ by up to {apart:.3g}"
    else:
        said = "the outputs have another shape"
    return (
        f"member {name!r} answers otherwise than when it was saved: the weights are the same, and {said}."
        " Either its code has changed since, or it was built otherwise in this process, by something that no"
        " checkpoint holds, such as what is drawn when its module is imported, the clock, or the order of a"
        " set. Let its factory draw that from torch, numpy.random or random, or register it as a buffer"
    )


def check(name: str, member: nn.Module, saved: Mapping[str, Tensor], where: object) -> None:
    """CheckpointError if a member answers otherwise than it did when it was saved."""
    if found := fault(name, member, saved):
        raise CheckpointError(f"{where}: {found}")


def without(saved: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The state of a member without its answers, which were those of other code."""
    return {key: value for key, value in saved.items() if key not in (ASKED, ANSWER)}


def _checked(name: str, saved: Mapping[str, Tensor]) -> tuple[list[int], Tensor]:
    asked, before = saved[ASKED], saved[ANSWER]
    known = asked.dtype == torch.int64 and asked.ndim == 1 and asked.numel() <= 8
    shape = asked.tolist() if known else [0]
    if not all(0 < size <= LARGEST for size in shape) or SAMPLES * prod(shape) > LARGEST:
        raise CheckpointError(f"member {name!r}: {ASKED} is not the shape of an input")
    fits = before.dtype == torch.float32 and before.ndim == 2 and len(before) == SAMPLES
    if not fits or not before.isfinite().all(1).any():
        raise CheckpointError(f"member {name!r}: {ANSWER} holds no answers")
    return shape, before


def _inputs(shape: Shape) -> Tensor:
    return torch.randn(SAMPLES, *shape, generator=torch.Generator().manual_seed(0))


def _answer(name: str, member: nn.Module, x: Tensor, seed: int) -> Tensor | None:
    """Outputs as rows of at most NUMBERS numbers; None for what is not one tensor of samples."""
    with put_back(name, member), seeded(seed, home_of(member, x)):
        output = output_of(member, x)
    if not isinstance(output, Tensor) or not output.is_floating_point() or len(output) != len(x):
        return None
    rows = output.detach().float().cpu().reshape(len(x), -1)
    return rows[:, :: -(-rows.shape[1] // NUMBERS) or 1].contiguous()


def _tolerance(answers: Tensor) -> float:
    """Of answers that are equal but for rounding: by how far they spread, and how large they are."""
    known = answers[answers.isfinite().all(1)]
    if not len(known):
        return 0.0
    spread, size = (known - known.mean(0)).abs().max(), known.abs().max()
    return max(OF_SPREAD * spread.item(), OF_SIZE * size.item())

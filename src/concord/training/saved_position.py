"""A position that was saved, read with distrust: every number in its range, and all of one moment."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from concord.training.position import Position, step_name

SCALARS = ("consensus", "samples", "compared")
SUMS = {"loss", "tally", *SCALARS}
LARGEST = 2**63
LONGEST = 1e10  # seconds; three centuries


@dataclass(frozen=True)
class Frame:
    """What the position must fit: the training that it is of, and the checkpoint that holds it."""

    index: int  # updates done, as the name of the checkpoint says
    steps: int  # of an epoch
    epochs: int
    patience: int | None
    members: int


def read_position(plain: Mapping[str, Any], totals: Mapping[str, Tensor], frame: Frame) -> Position:
    """The position that ``plain`` and the sums of its epoch describe.

    Raises ValueError that says what is wrong, TypeError for keys that a position does not have.
    """
    found = Position(**plain, totals=dict(totals))
    _check_counts(found, frame)
    _check_numbers(found)
    _check_best(found, frame)
    _check_sums(found, frame.members)
    return found


def _check_counts(found: Position, frame: Frame) -> None:
    for name in ("epoch", "step", "stale", "earlier"):
        value = getattr(found, name)
        if type(value) is not int or not 0 <= value < LARGEST:
            raise ValueError(f"{name} is {_short(value)}, expected a number from 0")
    if found.epoch > frame.epochs or found.step > frame.steps or found.stale > found.epoch:
        raise ValueError(
            f"epoch {found.epoch}, update {found.step} and {found.stale} epochs without a better score do not"
            f" fit {frame.epochs} epochs of {frame.steps} updates"
        )
    if found.epoch * frame.steps + found.step != frame.index:
        raise ValueError(
            f"epoch {found.epoch} and update {found.step} are not those of {step_name(frame.index)}"
        )
    stopped = frame.patience is not None and found.stale >= frame.patience
    ended = found.epoch > 0 and found.step == 0 and (found.epoch == frame.epochs or stopped)
    if found.finished is not ended:
        raise ValueError(f"finished is {_short(found.finished)} after {found.epoch} of {frame.epochs} epochs")


def _check_numbers(found: Position) -> None:
    for name in ("seconds", "epoch_seconds"):
        value = getattr(found, name)
        if not _number(value) or not 0 <= value < LONGEST:
            raise ValueError(f"{name} is {_short(value)}")
    if found.step and not found.epoch_seconds:
        raise ValueError(f"{found.step} updates took no time")


def _check_best(found: Position, frame: Frame) -> None:
    if found.best is None and found.best_step is None:
        return
    if not _number(found.best) or not isinstance(found.best_step, str):
        raise ValueError(f"best is {_short(found.best)} at {_short(found.best_step)}")
    number = found.best_step.removeprefix("step-")
    known = number.isascii() and number.isdigit() and len(number) <= len(str(frame.index)) + 8
    if not known or found.best_step != step_name(int(number)) or int(number) > frame.index:
        raise ValueError(f"best_step is {_short(found.best_step)}, which is not a checkpoint before this one")


def _check_sums(found: Position, members: int) -> None:
    """Sums are there while an epoch is in progress, and add up to something that can be divided by."""
    totals = found.totals
    if bool(totals) != bool(found.step) or (totals and totals.keys() != SUMS):
        raise ValueError(
            f"the sums of an epoch after {found.step} updates are {', '.join(sorted(totals)) or 'none'}"
        )
    for name, value in totals.items():
        shape = (members,) if name == "loss" else () if name in SCALARS else (value.numel(),)
        if value.shape != shape or value.dtype != torch.float64 or not value.isfinite().all():
            raise ValueError(f"the sum {name} is not {shape} finite numbers of float64")
    if totals and not 0 <= totals["compared"] <= totals["samples"]:
        raise ValueError("fewer samples than were compared")
    if totals and not totals["samples"] > 0:
        raise ValueError("updates of no sample")


def _number(value: object) -> bool:
    """Whether this is a finite number, as the JSON of concord has them, that a float can hold."""
    return isinstance(value, float) or (type(value) is int and abs(value) < LARGEST)


def _short(value: object) -> str:
    return repr(value)[:100]

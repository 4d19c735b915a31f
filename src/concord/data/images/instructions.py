"""Pictures of digits with an instruction in words: "take away two" beside a 5 means 3.

A task that needs both inputs. The label is (digit + shift) mod 10, where the shift is what the words ask for.
All shifts are asked for equally often, so the picture alone says nothing about the label and the words alone
say nothing beyond how often each digit occurs: whoever sees only one of them is right one time in ten.

Every template meets every number. Two numbers of each template are held out of training, so that one can ask
whether wordings never seen are understood.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from concord.data import batches, draws
from concord.data.batches import Normalise
from concord.data.images.images import Images
from concord.errors import DataError, UsageError
from concord.files.text import printable

Batch = tuple[tuple[Tensor, Tensor], Tensor]  # (x (B, C, H, W) float32, text (B, T) int64), y (B,) int64

NUMBERS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
UP = ("add {}", "plus {}", "{} more than this", "go up by {}", "what comes {} after it")
DOWN = ("take away {}", "minus {}", "{} less than this", "go down by {}", "what comes {} before it")
LETTERS = " abcdefghijklmnopqrstuvwxyz"  # the character at place i has id i + 1; 0 is padding
VOCABULARY = 1 + len(LETTERS)
LENGTH = max(len(template.format("seven")) for template in UP + DOWN)


@dataclass(frozen=True)
class Wording:
    text: str
    shift: int  # 0..9, added to the digit modulo 10


def wordings(*, held_out: bool = False) -> tuple[Wording, ...]:
    """The 80 wordings to train on, or the 20 others; each shift has 8, or 2, of them.

    Template t leaves out the numbers n = 2t (mod 5).
    """
    return tuple(
        Wording(template.format(word), n if template in UP else -n % 10)
        for t, template in enumerate(UP + DOWN)
        for n, word in enumerate(NUMBERS)
        if (n % 5 == 2 * t % 5) == held_out
    )


def encode(text: str, length: int = LENGTH) -> Tensor:
    """The ids of its characters, then zeros; UsageError for other characters and texts that are too long.

    Shape: -> (length,) int64
    """
    unknown = sorted(set(text) - set(LETTERS))
    if unknown:
        raise UsageError(f"{text!r} has {unknown[0]!r}; instructions are written with a to z and spaces")
    if len(text) > length:
        raise UsageError(f"{text!r} has {len(text)} characters, length={length} is too small")
    ids = [LETTERS.index(letter) + 1 for letter in text]
    return torch.tensor(ids + [0] * (length - len(ids)))


@dataclass(frozen=True, eq=False)
class Instructed:
    """N pictures of digits, an instruction for each, and the digit that comes out."""

    images: Images
    text: Tensor  # (N, T) int64, character ids, padded with 0
    labels: Tensor  # (N,) int64, results; images.labels are the digits that are seen

    def __len__(self) -> int:
        return len(self.labels)

    def to(self, device: torch.device | str) -> "Instructed":
        """The same samples with all tensors on ``device``."""
        return Instructed(self.images.to(device), self.text.to(device), self.labels.to(device))


def instructed(
    images: Images, known: Sequence[Wording], *, seed: int, epoch: int = 0, length: int = LENGTH
) -> Instructed:
    """One of the wordings for each picture; which one picture i gets is a function of (seed, epoch, i).

    Raises DataError unless class k is the digit k for k = 0..9, UsageError as ``encode`` does.
    """
    if images.classes != tuple("0123456789"):
        raise DataError(
            "instructions need pictures of the ten digits, classes 0 to 9 in this order, got "
            f"{len(images.classes)} classes: {printable(', '.join(images.classes[:10]))}"
        )
    if not known:
        raise UsageError("at least one wording is needed")
    device = images.labels.device
    drawn = draws.bits(np.arange(len(images)), "instruction", seed, epoch) % np.uint64(len(known))
    chosen = torch.from_numpy(drawn.astype(np.int64)).to(device)
    text = torch.stack([encode(one.text, length) for one in known]).to(device)
    shifts = torch.tensor([one.shift for one in known], device=device)
    return Instructed(images, text[chosen], (images.labels + shifts[chosen]) % 10)


def shuffled(
    data: Instructed, normalise: Normalise, *, batch_size: int, seed: int, epoch: int, start: int = 0
) -> Iterator[Batch]:
    """Batches ``start``, ``start`` + 1, ... of an epoch, those of ``batches.shuffled`` with their texts."""
    numbered = batches.shuffled(
        _numbered(data), normalise, batch_size=batch_size, seed=seed, epoch=epoch, start=start
    )
    return (((x, data.text[i]), data.labels[i]) for x, i in numbered)


def in_order(data: Instructed, normalise: Normalise, *, batch_size: int = 500) -> Iterator[Batch]:
    """All samples in stored order, for evaluation."""
    numbered = batches.in_order(_numbered(data), normalise, batch_size=batch_size)
    return (((x, data.text[i]), data.labels[i]) for x, i in numbered)


def _numbered(data: Instructed) -> Images:
    """The pictures with their numbers as labels, so that what belongs to them can be looked up."""
    return replace(data.images, labels=torch.arange(len(data), device=data.text.device))

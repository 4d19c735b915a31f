"""The characters of a text as windows, for models that predict the next one."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from concord.data.dataset import Draw, Spec
from concord.data.draws import bits
from concord.errors import DataError
from concord.files.text import counted, printable

LARGEST = 1 << 30  # bytes of a text


@dataclass(frozen=True, eq=False)
class Windows:
    """Windows of ``steps`` characters of one text, each with the next character of every step.

    Sample i begins at character i · steps; in training up to steps - 1 characters behind it, drawn for each
    epoch, so that a window's edge falls elsewhere each time.
    """

    symbols: Tensor  # (N,) int64
    alphabet: tuple[str, ...]
    steps: int

    @property
    def spec(self) -> Spec:
        return Spec("text", (self.steps,), torch.int64, self.alphabet)

    @cached_property
    def fingerprint(self) -> str:
        known = repr((self.alphabet, self.steps)).encode()
        return sha256(known + self.symbols.numpy().tobytes()).hexdigest()

    def __len__(self) -> int:
        return max(0, len(self.symbols) - 1) // self.steps

    def batch(self, index: Tensor, draw: Draw | None) -> tuple[Tensor, Tensor]:
        """Shape: (B,) -> (B, T), (B, T), the second one character further"""
        begin = index * self.steps
        if draw is not None:
            key = ("window", draw.seed, draw.epoch)
            moved = (bits(index.numpy(), *key) % np.uint64(self.steps)).astype(np.int64)
            begin = torch.minimum(
                begin + torch.from_numpy(moved), torch.tensor(len(self.symbols) - self.steps - 1)
            )
        places = begin[:, None] + torch.arange(self.steps + 1)
        window = self.symbols[places]
        return window[:, :-1], window[:, 1:]

    def name(self, i: int) -> str:
        return f"characters {i * self.steps:,} to {(i + 1) * self.steps - 1:,}"


@dataclass(frozen=True)
class TextParts:
    """A text cut in three, in the order of its characters: the last part is the test."""

    train: Windows
    valid: Windows
    test: Windows


def read_text(path: Path) -> str:
    """DataError for a file that is missing, empty, too large or not UTF-8, with the place."""
    try:
        if path.stat().st_size > LARGEST:
            raise DataError(f"{printable(path)} has more than a gigabyte; cut it into parts")
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{printable(path)} cannot be read ({error.strerror})") from error
    if not content:
        raise DataError(f"{printable(path)} is empty; expected text")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise DataError(
            f"{printable(path)}, line {line}: byte {error.start} is not UTF-8; save the file as UTF-8"
        ) from error


def characters(text: str, steps: int = 128, *, valid: float = 0.1, test: float = 0.1) -> TextParts:
    """Training, validation and test windows of a text; its alphabet are the characters of all of it.

    DataError where a part is shorter than one window.
    """
    alphabet = tuple(sorted(set(text)))
    return windows_of(encoded(text, alphabet), alphabet, steps, valid=valid, test=test)


def windows_of(
    symbols: Tensor, alphabet: tuple[str, ...], steps: int, *, valid: float, test: float
) -> TextParts:
    """The same of symbols that are numbered already; a fraction of 0 gives an empty part."""
    ends = [round(len(symbols) * (1 - valid - test)), round(len(symbols) * (1 - test))]
    parts = [Windows(part, alphabet, steps) for part in torch.tensor_split(symbols, ends)]
    wanted = zip(("training", "validation", "test"), (1.0, valid, test), parts, strict=True)
    for name, share, part in wanted:
        if share and not len(part):
            raise DataError(
                f"the {name} part has {counted(len(part.symbols), 'character')}, fewer than the {steps + 1}"
                " of one window; take a longer text or shorter windows"
            )
    return TextParts(*parts)


def encoded(text: str, alphabet: Sequence[str]) -> Tensor:
    """The number of every character. DataError names the first that the alphabet lacks. Shape: -> (N,)"""
    numbers = {character: k for k, character in enumerate(alphabet)}
    try:
        return torch.tensor([numbers[character] for character in text], dtype=torch.int64)
    except KeyError as error:
        place = text.index(error.args[0])
        raise DataError(
            f"character {place + 1} is {printable(repr(error.args[0]))}, which the training text lacks"
        ) from None

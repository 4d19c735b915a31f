"""Text that a language model of a run writes."""

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from concord.consensus.names import ENSEMBLE
from concord.data.sequences.load import WINDOW
from concord.data.sequences.text import encoded
from concord.errors import DataError, UsageError
from concord.runs.machine import settled
from concord.runs.sequences.loading import load_run
from concord.runs.sequences.settings import LANGUAGE
from concord.tasks import sample as drawing
from concord.training.observer import SILENT, Observer


@dataclass(frozen=True)
class Sampled:
    """A prompt and what was written behind it."""

    run: str
    member: str
    prompt: str
    text: str
    seed: int

    def to_dict(self) -> dict[str, Any]:
        """What ``concord sample --json`` prints."""
        return vars(self)


class MeanLogits(nn.Module):
    """What an ensemble predicts at every step. Shape: (B, T) -> (B, T, K)"""

    def __init__(self, members: dict[str, nn.Module]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members.values())

    def forward(self, x: Tensor) -> Tensor:
        return torch.stack([member(x) for member in self.members]).mean(0)


def sample(
    run: Path,
    prompt: str,
    *,
    length: int = 500,
    temperature: float = 0.8,
    top: int | None = None,
    seed: int = 0,
    member: str = ENSEMBLE,
    allow_code: Collection[str] = (),
    observer: Observer = SILENT,
) -> Sampled:
    """``length`` characters behind the prompt, drawn from softmax(logits / temperature).

    Equal seeds give equal text. ``top`` leaves only that many of the likeliest characters. A member that
    cannot carry its state reads the last window of characters at every step, as long as those that it was
    trained on. UsageError for a run of another task and numbers out of range, DataError for a character that
    the training text lacks.
    """
    loaded = load_run(run, member=member, allow_code=allow_code, observer=observer)
    if loaded.interface.task != LANGUAGE:
        raise UsageError(
            f"{run} is of the task {loaded.interface.task}: only a run of the task {LANGUAGE} writes text"
        )
    alphabet = loaded.interface.known.alphabet
    if not isinstance(prompt, str) or not prompt:
        raise UsageError(f"the prompt is a text of at least one character, got {prompt!r}")
    if length < 1:
        raise UsageError(f"length is at least 1, got {length}")
    try:
        symbols = encoded(prompt, alphabet)
    except DataError as error:
        raise DataError(f"the prompt: {error}") from None
    chosen = loaded.chosen(member)
    network = MeanLogits(chosen) if len(chosen) > 1 else next(iter(chosen.values()))
    with settled(loaded.config):
        found = drawing.sample(
            network,
            symbols,
            length,
            generator=torch.Generator().manual_seed(seed),
            temperature=temperature,
            top=top,
            context=loaded.config.data.window or WINDOW,
        )
    return Sampled(str(run), member, prompt, "".join(alphabet[k] for k in found.tolist()), seed)

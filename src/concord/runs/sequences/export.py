"""One member of a run on sequences, or the ensemble, as a file that other programs load."""

import json
from collections.abc import Collection, Sequence
from importlib.metadata import version
from pathlib import Path

import torch
from torch import Tensor, nn

from concord.consensus.names import ENSEMBLE
from concord.errors import UsageError
from concord.files.atomic import deliver
from concord.runs.export import FORMATS, Exported, require_format
from concord.runs.export_deployed import within_tolerance
from concord.runs.export_formats import Ask, Inputs, safetensors_file
from concord.runs.export_made import made
from concord.runs.machine import settled
from concord.runs.sequences.interface import SequenceInterface
from concord.runs.sequences.loading import LoadedSequences, load_run
from concord.runs.sequences.members import example
from concord.training.observer import SILENT, Observer

CHECKED = ((1, 1), (3, 7), (2, 40))  # batches and steps
EXAMPLE = (2, 9)
FREE = {"x": {0: "batch", 1: "steps"}, "lengths": {0: "batch"}}


class Deployed(nn.Module):
    """Probabilities of one member, or of the mean logits of several; numbers are normalised inside.

    Shape: (B, T) symbols or (B, T, D) numbers, lengths (B,) -> (B, K), or (B, T, K) for every step
    """

    mean: Tensor
    std: Tensor

    def __init__(self, members: Sequence[nn.Module], interface: SequenceInterface) -> None:
        super().__init__()
        self.members, self.scaled = nn.ModuleList(members), interface.scale is not None
        mean, std = (interface.scale.mean, interface.scale.std) if interface.scale else ((), ())
        self.register_buffer("mean", torch.tensor(mean))
        self.register_buffer("std", torch.tensor(std))
        self.eval()

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        if self.scaled and lengths is not None:
            there = torch.arange(x.shape[1], device=x.device) < lengths[:, None]
            x = (x - self.mean) / self.std * there[..., None]
        given = (x,) if lengths is None else (x, lengths)
        return torch.stack([member(*given) for member in self.members]).mean(0).softmax(-1)


def export(
    run: Path,
    to: Path,
    *,
    member: str = ENSEMBLE,
    allow_code: Collection[str] = (),
    observer: Observer = SILENT,
) -> Exported:
    """Write one member or the ensemble to ``to``; its suffix decides: .onnx, .pt2 or .safetensors.

    ONNX and torch.export take any batch of any number of steps, and are checked against the members on three
    of each. What cannot be written leaves an older file as it was (ResourceError); a network that the format
    cannot hold is a UsageError.
    """
    suffix = require_format(to)
    loaded = load_run(run, member=member, allow_code=allow_code, device="cpu", observer=observer)
    chosen, about = loaded.chosen(member), described(loaded, member)
    classes, worst = loaded.interface.known.classes, None
    if suffix == ".safetensors":
        if len(chosen) > 1:
            raise UsageError(f"safetensors holds the weights of one member: name one of {', '.join(chosen)}")
        (network,) = chosen.values()
        content = safetensors_file(network, about, loaded.interface.plain())
        deliver(to, content)
        return Exported(to, member, classes, len(content), FORMATS[suffix])
    with settled(loaded.config):
        content, worst = made(
            chosen,
            lambda members: Deployed(members, loaded.interface),
            inputs_of(loaded.interface),
            about,
            suffix,
            lambda ask: largest_difference(ask, loaded, member),
        )
    deliver(to, content)
    batches, steps = zip(*CHECKED, strict=True)
    return Exported(to, member, classes, len(content), FORMATS[suffix], batches, steps, worst)


def inputs_of(interface: SequenceInterface) -> Inputs:
    """Any batch of sequences of any length."""
    given = dict(zip(FREE, example(interface, *EXAMPLE), strict=False))
    return Inputs(given, {name: FREE[name] for name in given})


def largest_difference(ask: Ask, loaded: LoadedSequences, member: str) -> float:
    """Of any probability between the exported file and the members, over three batches and lengths.

    UsageError if it is more than the tolerance.
    """
    worst = torch.zeros(())
    with torch.no_grad():
        for batch, steps in CHECKED:
            given = example(loaded.interface, batch, steps)
            wanted = Deployed(list(loaded.chosen(member).values()), loaded.interface)(*given)
            worst = torch.maximum(worst, _apart(ask(*given), wanted, given[1:]))
    return within_tolerance(worst)


def _apart(found: Tensor, wanted: Tensor, lengths: tuple[Tensor, ...]) -> Tensor:
    """The largest difference at steps that are there."""
    apart = (found - wanted).abs()
    if lengths and apart.ndim == 3:
        there = torch.arange(apart.shape[1]) < lengths[0][:, None]
        apart = apart * there[..., None]
    return apart.max()


def described(loaded: LoadedSequences, member: str) -> dict[str, str]:
    """Metadata by key, as ONNX and safetensors hold them: texts, those of lists and numbers as JSON."""
    interface, names = loaded.interface, [m for m in loaded.config.members if member in (m.name, ENSEMBLE)]
    symbols = "numbers of the characters in alphabet, int64 (batch, steps)"
    numbers = f"{interface.features} numbers for each step, float32 (batch, steps, {interface.features})"
    behind = "; lengths are the steps of each, int64 (batch,)" if interface.lengths else ""
    blank = " The first is the blank." if interface.task == "ctc" else ""
    each = "a sequence" if interface.task == "sequence" else "every step"
    return {
        "task": interface.task,
        "classes": json.dumps(list(interface.known.classes)),
        "alphabet": json.dumps(list(interface.known.alphabet)),
        "preparation": f"Input: {numbers if interface.features else symbols}{behind}. Normalisation is"
        " inside."
        f" Output: a probability for each class of {each}.{blank}",
        "network": ", ".join(m.network for m in names),
        "member": member,
        "concord_version": version("concord"),
    }

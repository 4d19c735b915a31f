"""One member of a run of masks or boxes, or an ensemble of masks, as a file that other programs load."""

import json
from collections.abc import Collection
from importlib.metadata import version
from pathlib import Path

from torch import nn

from concord.consensus.names import ENSEMBLE
from concord.errors import UsageError
from concord.files.atomic import deliver
from concord.runs.export import FORMATS, Exported, require_format
from concord.runs.export_formats import safetensors_file
from concord.runs.export_made import made
from concord.runs.machine import settled
from concord.runs.vision.deployed import LEAST_SCORE, deployed, inner, inputs_of
from concord.runs.vision.export_check import BATCHES, largest_difference
from concord.runs.vision.loading import LoadedVision, load_run
from concord.runs.vision.members import canvas_of
from concord.runs.vision.settings import DETECT
from concord.training.observer import SILENT, Observer


def export(
    run: Path,
    to: Path,
    *,
    member: str = ENSEMBLE,
    allow_code: Collection[str] = (),
    observer: Observer = SILENT,
) -> Exported:
    """Write one member, or an ensemble of masks, to ``to``; its suffix decides: .onnx, .pt2 or .safetensors.

    ONNX and torch.export take pictures of any size that fits, and are checked against the members on three
    sizes. What cannot be written leaves an older file as it was (ResourceError); a network that the format
    cannot hold is a UsageError.
    """
    suffix = require_format(to)
    loaded = load_run(run, member=member, allow_code=allow_code, device="cpu", observer=observer)
    chosen, about, classes = loaded.chosen(member), described(loaded, member), loaded.interface.classes
    if suffix == ".safetensors" or loaded.interface.task == DETECT:
        _require_one(chosen, suffix)
    if suffix == ".safetensors":
        (network,) = chosen.values()
        content = safetensors_file(inner(network), about, loaded.interface.plain())
        deliver(to, content)
        return Exported(to, member, classes, len(content), FORMATS[suffix])
    inputs = inputs_of(loaded, chosen)
    with settled(loaded.config):
        content, worst = made(
            chosen,
            lambda members: deployed(loaded, members),
            inputs,
            about,
            suffix,
            lambda ask: largest_difference(ask, loaded, chosen),
        )
    deliver(to, content)
    return Exported(to, member, classes, len(content), FORMATS[suffix], BATCHES, largest_difference=worst)


def _require_one(chosen: dict[str, nn.Module], suffix: str) -> None:
    if len(chosen) > 1:
        what = "safetensors holds the weights of" if suffix == ".safetensors" else "boxes are exported of"
        raise UsageError(f"{what} one member: name one of {', '.join(chosen)}")


def described(loaded: LoadedVision, member: str) -> dict[str, str]:
    """Metadata by key, as ONNX and safetensors hold them: texts, those of lists as JSON."""
    interface, names = loaded.interface, [m for m in loaded.config.members if member in (m.name, ENSEMBLE)]
    colour = "grey" if interface.channels == 1 else "RGB"
    head = f"Input: {colour} pixels as they are stored, uint8 (batch, {interface.channels}, height, width)."
    if interface.task == DETECT:
        height, width = canvas_of(interface)
        head += (
            f" Pictures were scaled to {width}x{height} with their proportions kept, on a grey of 128."
            f" Output: boxes x1, y1, x2, y2 in pixels of the input, scores from {LEAST_SCORE}, numbers of"
            " classes,"
            " numbers of pictures; suppression within each class is inside."
        )
    else:
        head += " Output: a probability for each class of every pixel."
    return {
        "task": interface.task,
        "classes": json.dumps(list(interface.classes)),
        "preparation": f"{head} Normalisation is inside.",
        "network": ", ".join(m.network for m in names),
        "member": member,
        "concord_version": version("concord"),
    }

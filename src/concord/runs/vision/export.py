"""One member of a run of masks or boxes, or an ensemble of masks, as a file that other programs load."""

import json
from collections.abc import Collection, Mapping, Sequence
from importlib.metadata import version
from math import lcm
from pathlib import Path

import torch
from torch import Tensor, nn
from torchvision.ops import nms

from concord.consensus.names import ENSEMBLE
from concord.errors import UsageError
from concord.files.atomic import deliver
from concord.layers.tiles import Grid, Tiled
from concord.runs.export import FORMATS, Exported, require_format
from concord.runs.export_deployed import within_tolerance
from concord.runs.export_formats import Ask, Free, Inputs, safetensors_file
from concord.runs.export_made import made
from concord.runs.machine import settled
from concord.runs.vision.interface import VisionInterface
from concord.runs.vision.loading import LoadedVision, load_run
from concord.runs.vision.members import canvas_of
from concord.runs.vision.settings import DETECT
from concord.tasks.detect import Detect
from concord.tasks.detection.decode import clipped
from concord.tasks.detection.head import Head
from concord.tasks.detection.suppress import OVERLAP
from concord.tasks.detection.v1 import YoloV1
from concord.training.observer import SILENT, Observer

SIDES = (64, 96, 160)  # of the pictures that a file is checked on, as near as they fit
BATCHES = (1, 2, 3)
OUTPUTS = ("boxes", "scores", "labels", "images")
LEAST_SCORE = 0.05  # of a box in the output


class DeployedMasks(nn.Module):
    """Mean probabilities of the members, of pixels as they are stored; normalisation is inside.

    Shape: (B, C, H, W) uint8 -> (B, K, H', W')
    """

    mean: Tensor
    std: Tensor

    def __init__(self, members: Sequence[nn.Module], interface: VisionInterface) -> None:
        super().__init__()
        self.members = nn.ModuleList(_inner(member) for member in members)
        scale = interface.normalise
        self.register_buffer("mean", torch.tensor(scale.mean).view(1, -1, 1, 1))
        self.register_buffer("std", torch.tensor(scale.std).view(1, -1, 1, 1))
        self.eval()

    def forward(self, pixels: Tensor) -> Tensor:
        x = (pixels.float() - self.mean) / self.std
        return torch.stack([member(x).softmax(1) for member in self.members]).mean(0)


def _inner(member: nn.Module) -> nn.Module:
    return member.network if isinstance(member, Tiled) else member


def free_sides(grids: Sequence[Grid | None]) -> tuple[Free, Free]:
    """Which heights and widths all members take; UsageError where their borders differ."""
    known = [grid for grid in grids if grid is not None]
    if len({(grid.rest, grid.margin, grid.multiple if grid.margin else 0) for grid in known}) > 1:
        raise UsageError("the members take pictures of different sizes: export one of them")
    multiple = lcm(*(grid.multiple for grid in known))
    rest = known[0].rest if known else 0
    least = -(-max((grid.fitting(1) for grid in known), default=1) // multiple)
    height, width = (Free(name, multiple, rest, max(least, 1)) for name in ("height", "width"))
    return height, width


class DeployedBoxes(nn.Module):
    """Boxes of one member after suppression within each class; normalisation and decoding are inside.

    What is surer comes first. Shape: (B, C, H, W) uint8 -> boxes (N, 4) as x1, y1, x2, y2 in pixels, scores,
    labels and images (N,), N the boxes of all B pictures together
    """

    mean: Tensor
    std: Tensor

    def __init__(self, member: nn.Module, head: Head, interface: VisionInterface) -> None:
        super().__init__()
        self.member, self.head = member, head
        scale = interface.normalise
        self.register_buffer("mean", torch.tensor(scale.mean).view(1, -1, 1, 1))
        self.register_buffer("std", torch.tensor(scale.std).view(1, -1, 1, 1))
        self.eval()

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        boxes, scores, size = self.head.decode(self.member((pixels.float() - self.mean) / self.std))
        sure = scores >= LEAST_SCORE  # (B, P, K)
        image, place, label = sure.nonzero(as_tuple=True)
        found, score = boxes[image, place], scores[sure]
        # boxes of other pictures and classes lie so far away that they do not overlap
        least = boxes.min()
        groups = (image * scores.shape[2] + label) * (boxes.max() - least + 1)
        kept = nms(found - least + groups[:, None], score, OVERLAP)
        return clipped({"boxes": found[kept]}, size)["boxes"], score[kept], label[kept], image[kept]


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
        content = safetensors_file(_inner(network), about, loaded.interface.plain())
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


def deployed(loaded: LoadedVision, members: Sequence[nn.Module]) -> nn.Module:
    """The network as it is exported."""
    if loaded.interface.task != DETECT:
        return DeployedMasks(members, loaded.interface)
    task = loaded.task
    assert isinstance(task, Detect)
    return DeployedBoxes(members[0], task.head, loaded.interface)


def inputs_of(loaded: LoadedVision, chosen: Mapping[str, nn.Module]) -> Inputs:
    """Pictures of any size that all of these members take, in any batch."""
    interface = loaded.interface
    if interface.task == DETECT:
        height, width = canvas_of(interface)
        steps = [max(getattr(member, "strides", ()) or (1,)) for member in chosen.values()]
        grids: list[Grid | None] = [Grid(step) for step in steps]
    else:
        height, width = SIDES[1], SIDES[1]
        grids = [member.grid if isinstance(member, Tiled) else None for member in chosen.values()]
    sides = free_sides(grids)
    fixed = isinstance(getattr(loaded.task, "head", None), YoloV1)  # whose boxes are shares of one size
    axes: dict[int, str | Free] = {0: "batch"} if fixed else {0: "batch", 2: sides[0], 3: sides[1]}
    example = _pixels(
        interface.channels, 2, *(_next(side, free) for side, free in zip((height, width), sides, strict=True))
    )
    return Inputs(
        {"pixels": example}, {"pixels": axes}, OUTPUTS if interface.task == DETECT else ("probabilities",)
    )


def _next(side: int, free: Free) -> int:
    """The smallest size of this axis that is not below ``side``."""
    n = max(free.least, -(-(side - free.rest) // free.multiple))
    return n * free.multiple + free.rest


def _pixels(channels: int, batch: int, height: int, width: int) -> Tensor:
    """Random pictures, the same for each size. Shape: (B, C, H, W) uint8"""
    generator = torch.Generator().manual_seed(height + width)
    return torch.randint(0, 256, (batch, channels, height, width), generator=generator, dtype=torch.uint8)


def largest_difference(ask: Ask, loaded: LoadedVision, chosen: Mapping[str, nn.Module]) -> float:
    """Of any number between the exported file and the members, over three sizes and batches.

    UsageError if it is more than the tolerance, or if there are more or fewer boxes.
    """
    network = deployed(loaded, list(chosen.values()))
    inputs = inputs_of(loaded, chosen)
    (example,), (axes,) = inputs.example.values(), inputs.free.values()
    worst = torch.zeros(())
    with torch.no_grad():
        for batch, side in zip(BATCHES, SIDES, strict=True):
            size = [
                _next(side, axis) if isinstance(axis := axes.get(i), Free) else example.shape[i]
                for i in (2, 3)
            ]
            pixels = _pixels(example.shape[1], batch, *size)
            found, wanted = (
                given if isinstance(given, tuple) else (given,) for given in (ask(pixels), network(pixels))
            )
            for one, other in zip(found, wanted, strict=True):
                apart = (
                    (one - other).abs().float() if one.shape == other.shape else torch.full((1,), torch.inf)
                )
                scale = max(example.shape[2:]) if one.ndim == 2 else 1  # boxes are in pixels
                worst = torch.maximum(worst, apart.max() / scale if apart.numel() else worst)
    return within_tolerance(worst)


def described(loaded: LoadedVision, member: str) -> dict[str, str]:
    """Metadata by key, as ONNX and safetensors hold them: texts, those of lists as JSON."""
    interface, names = loaded.interface, [m for m in loaded.config.members if member in (m.name, ENSEMBLE)]
    colour = "grey" if interface.channels == 1 else "RGB"
    head = f"Input: {colour} pixels as they are stored, uint8 (batch, {interface.channels}, height, width)."
    if interface.task == DETECT:
        height, width = canvas_of(interface)
        head += (
            f" Pictures were scaled to {width}x{height} with their proportions kept, on a grey of 128."
            f" Output: boxes x1, y1, x2, y2 in pixels of the input, scores from {LEAST_SCORE}, numbers of classes,"
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

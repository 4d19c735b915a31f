"""Members of a run of masks or boxes as they are exported: pixels in, classes of pixels or boxes out."""

from collections.abc import Mapping, Sequence
from math import lcm

import torch
from torch import Tensor, nn
from torchvision.ops import nms

from concord.errors import UsageError
from concord.layers.tiles import Grid, Tiled
from concord.runs.export_formats import Free, Inputs
from concord.runs.vision.interface import VisionInterface
from concord.runs.vision.loading import LoadedVision
from concord.runs.vision.members import canvas_of
from concord.runs.vision.settings import DETECT
from concord.tasks.detect import Detect
from concord.tasks.detection.decode import clipped
from concord.tasks.detection.head import Head
from concord.tasks.detection.suppress import OVERLAP
from concord.tasks.detection.v1 import YoloV1

OUTPUTS = ("boxes", "scores", "labels", "images")
LEAST_SCORE = 0.05  # of a box in the output
SIDE = 96  # of the pictures of masks that a network is exported with, as near as it fits


class DeployedMasks(nn.Module):
    """Mean probabilities of the members, of pixels as they are stored; normalisation is inside.

    Shape: (B, C, H, W) uint8 -> (B, K, H', W')
    """

    mean: Tensor
    std: Tensor

    def __init__(self, members: Sequence[nn.Module], interface: VisionInterface) -> None:
        super().__init__()
        self.members = nn.ModuleList(inner(member) for member in members)
        scale = interface.normalise
        self.register_buffer("mean", torch.tensor(scale.mean).view(1, -1, 1, 1))
        self.register_buffer("std", torch.tensor(scale.std).view(1, -1, 1, 1))
        self.eval()

    def forward(self, pixels: Tensor) -> Tensor:
        x = (pixels.float() - self.mean) / self.std
        return torch.stack([member(x).softmax(1) for member in self.members]).mean(0)


def inner(member: nn.Module) -> nn.Module:
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
        height, width = SIDE, SIDE
        grids = [member.grid if isinstance(member, Tiled) else None for member in chosen.values()]
    sides = free_sides(grids)
    fixed = isinstance(getattr(loaded.task, "head", None), YoloV1)  # whose boxes are shares of one size
    axes: dict[int, str | Free] = {0: "batch"} if fixed else {0: "batch", 2: sides[0], 3: sides[1]}
    example = random_pixels(
        interface.channels,
        2,
        *(fitting(side, free) for side, free in zip((height, width), sides, strict=True)),
    )
    return Inputs(
        {"pixels": example}, {"pixels": axes}, OUTPUTS if interface.task == DETECT else ("probabilities",)
    )


def fitting(side: int, free: Free) -> int:
    """The smallest size of this axis that is not below ``side``."""
    n = max(free.least, -(-(side - free.rest) // free.multiple))
    return n * free.multiple + free.rest


def random_pixels(channels: int, batch: int, height: int, width: int) -> Tensor:
    """Random pictures, the same for each size. Shape: (B, C, H, W) uint8"""
    generator = torch.Generator().manual_seed(height + width)
    return torch.randint(0, 256, (batch, channels, height, width), generator=generator, dtype=torch.uint8)

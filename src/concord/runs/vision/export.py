"""One member of a run of masks or boxes, or an ensemble of masks, as a file that other programs load."""

import json
from collections.abc import Collection, Sequence
from importlib.metadata import version
from math import lcm
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

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
from concord.runs.vision.settings import DETECT
from concord.training.observer import SILENT, Observer

SIDES = (64, 96, 160)  # of the pictures that a file is checked on, as near as they fit; batches of 1, 2 and 3
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

"""Random changes of images and their boxes, drawn for each sample from (seed, epoch, sample) alone.

Sources: J. Redmon, S. Divvala, R. Girshick, A. Farhadi, "You Only Look Once", CVPR 2016, section 2.2 (scaling
and translation by up to 20 %, exposure and saturation), as darknet has it: every edge of a window moves by up
to ``jitter`` of the side. A. Bochkovskiy, C.-Y. Wang, H.-Y. M. Liao, "YOLOv4", 2020, section 3.3 (mosaic).
Departures: colours change as torchvision's ColorJitter has it; the images of a mosaic keep their scale.
"""

from collections.abc import Callable
from dataclasses import dataclass, fields

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms.v2 import functional as F

from concord.data import draws
from concord.data.dataset import Draw
from concord.data.detection.place import GREY, Place, Size
from concord.data.detection.read import Truth
from concord.data.images.augment import Augment
from concord.errors import UsageError

KEPT = 0.25  # of the area of a box must remain in the window, or the box is dropped
LEAST = 2.0  # pixels of a side that must remain
Stored = Callable[
    [int], tuple[Tensor, Place, Truth]
]  # number -> the scaled image, its place, its objects there


@dataclass(frozen=True)
class BoxAugment:
    """What may happen to an image and its boxes, in this order. Each draw is uniform and independent.

    mosaic      with this probability four images share the canvas, the sample and three others
    jitter      each edge of the shown window moves by up to this fraction of the side, in or out: the image
                is moved, scaled and stretched; what comes in is grey
    flip        left and right are exchanged with probability 1/2
    brightness, contrast, saturation
                multiplied by 1 - value to 1 + value, in random order with hue
    hue         turned by -hue..hue of the circle of colours, 0.5 at most

    A box is clipped to the window, and dropped where less than a quarter of its area or less than 2 pixels of
    a side remain.
    """

    flip: bool = False
    jitter: float = 0.0
    mosaic: float = 0.0
    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0
    hue: float = 0.0

    def __post_init__(self) -> None:
        for name, most in (("jitter", 0.4), ("mosaic", 1.0)):
            if not 0 <= getattr(self, name) <= most:
                raise UsageError(f"augment.{name} must be 0 to {most:g}, got {getattr(self, name)}")
        self._colour()  # raises for a wrong value

    def _colour(self) -> Augment:
        own = {f.name: getattr(self, f.name) for f in fields(self)}
        return Augment(**{name: own[name] for name in ("brightness", "contrast", "saturation", "hue")})

    def __call__(self, i: int, draw: Draw, stored: Stored, count: int, canvas: Size) -> tuple[Tensor, Truth]:
        """Sample ``i`` of ``count``, changed. Shape: (3, H, W) uint8 and boxes in pixels of it"""
        if self.mosaic and _uniform(i, "mosaic", draw) < self.mosaic:
            pixels, truth = _mosaic(i, draw, stored, count, canvas)
        else:
            pixels, truth = self._jittered(i, draw, stored, canvas)
        if self.flip and _uniform(i, "flip", draw) < 0.5:
            pixels, truth = F.horizontal_flip(pixels), truth._replace(boxes=_mirrored(truth.boxes, canvas[1]))
        pixels = self._colour()(pixels[None], torch.tensor([i]), seed=draw.seed, epoch=draw.epoch)[0]
        return pixels, truth

    def _jittered(self, i: int, draw: Draw, stored: Stored, canvas: Size) -> tuple[Tensor, Truth]:
        if not self.jitter:
            pixels, place, truth = stored(i)
            return place.on_canvas(pixels, canvas), remaining(truth, truth.boxes, canvas)
        height, width = canvas
        moves = [self.jitter * (2 * _uniform(i, f"jitter {edge}", draw) - 1) for edge in range(4)]
        left, top, right, bottom = (m * side for m, side in zip(moves, (width, height) * 2, strict=True))
        return _shown(stored(i), (left, top, width + right, height + bottom), canvas)


def _mosaic(i: int, draw: Draw, stored: Stored, count: int, canvas: Size) -> tuple[Tensor, Truth]:
    """Four quarters around a random centre, each a window of its size of one image."""
    height, width = canvas
    x, y = (
        round((0.3 + 0.4 * _uniform(i, axis, draw)) * side) for axis, side in (("x", width), ("y", height))
    )
    quarters = ((0, 0, x, y), (x, 0, width, y), (0, y, x, height), (x, y, width, height))
    out = torch.empty((3, height, width), dtype=torch.uint8)
    truths = []
    for number, (x1, y1, x2, y2) in enumerate(quarters):
        sample = int(count * _uniform(i, f"sample {number}", draw)) if number else i
        w, h = x2 - x1, y2 - y1
        left, top = (
            round(room * _uniform(i, f"{axis} {number}", draw))
            for axis, room in (("left", width - w), ("top", height - h))
        )
        out[:, y1:y2, x1:x2], truth = _shown(stored(sample), (left, top, left + w, top + h), (h, w))
        truths.append(truth._replace(boxes=truth.boxes + torch.tensor([x1, y1, x1, y1])))
    return out, Truth(*(torch.cat(rows) for rows in zip(*truths, strict=True)))


def _shown(
    sample: tuple[Tensor, Place, Truth], window: tuple[float, float, float, float], size: Size
) -> tuple[Tensor, Truth]:
    """What a window of the canvas shows, scaled to ``size`` (height, width), with the boxes that remain."""
    pixels, place, truth = sample
    x1, y1, x2, y2 = window
    height, width = size
    data = (x1 - place.left, y1 - place.top, x2 - place.left, y2 - place.top)
    image = Image.fromarray(pixels.permute(1, 2, 0).contiguous().numpy())
    # Pillow's arithmetic is the same on every machine
    seen = image.transform(
        (width, height), Image.Transform.EXTENT, data, Image.Resampling.BILINEAR, fillcolor=(GREY,) * 3
    )
    scale = torch.tensor([width / (x2 - x1), height / (y2 - y1)] * 2)
    boxes = (truth.boxes - torch.tensor([x1, y1, x1, y1])) * scale
    return F.pil_to_tensor(seen), remaining(truth, boxes, size)


def remaining(truth: Truth, boxes: Tensor, size: Size) -> Truth:
    """The objects whose ``boxes`` (n, 4) lie for a quarter or more in a (height, width) image, clipped."""
    height, width = size
    clipped = boxes.clamp(min=0).minimum(torch.tensor([width, height, width, height], dtype=boxes.dtype))
    sides = clipped[:, 2:] - clipped[:, :2]
    whole = (boxes[:, 2:] - boxes[:, :2]).prod(1)
    return truth.some((sides.prod(1) >= KEPT * whole) & (sides >= LEAST).all(1), clipped)


def _mirrored(boxes: Tensor, width: int) -> Tensor:
    x1, y1, x2, y2 = boxes.unbind(-1)
    return torch.stack([width - x2, y1, width - x1, y2], -1)


def _uniform(i: int, what: str, draw: Draw) -> float:
    """A number from 0 to below 1 that depends on these alone."""
    (bits,) = draws.bits(np.array([i]), "boxes", what, draw.seed, draw.epoch)
    return int(bits >> np.uint64(11)) / 2**53

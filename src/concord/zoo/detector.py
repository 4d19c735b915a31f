"""What every YOLO network says about its outputs, so that a task can decode them and compute a loss.

Raw outputs have darknet's order of channels:
  * version 1: (B, S² (K + 5n)), the class probabilities of all cells (S², K), then their confidences (S², n),
    then their boxes (S², n, 4) as x, y, sqrt(w), sqrt(h);
  * version 2: one map (B, A (5 + K), H / stride, W / stride): x, y, w, h, objectness, classes of each anchor;
  * version 3: a tuple of such maps, from coarse to fine.
"""

import math
from collections.abc import Sequence
from typing import Self

import torch
from torch import Tensor, nn

from concord.errors import ShapeError, UsageError
from concord.layers.pictures import require_pictures

Anchor = tuple[float, float]  # width and height in pixels of the input
Anchors = tuple[tuple[Anchor, ...], ...]  # of each map, in the order of its channels


class Detector(nn.Module):
    """A network of version 1, 2 or 3 for K classes, with ``boxes`` in each cell of each of its maps.

    Version 1 has ``cells`` x ``cells`` cells and no anchors; the others have a map for each of the
    ``strides``, from coarse to fine, with its own ``anchors``, which ``with_anchors`` replaces.
    """

    def __init__(
        self,
        version: int,
        channels: int,
        classes: int,
        *,
        boxes: int,
        cells: int = 0,
        strides: tuple[int, ...] = (),
        anchors: Anchors = (),
    ) -> None:
        if min(channels, classes, boxes, cells if version == 1 else 1) < 1:
            raise UsageError(
                f"channels, classes, boxes and cells must be at least 1, got {channels}, {classes}, {boxes}"
                f" and {cells}"
            )
        super().__init__()
        self.version, self.channels, self.classes = version, channels, classes
        self.boxes, self.cells, self.strides = boxes, cells, strides
        self.anchors = anchors

    @property
    def per_map(self) -> int:
        """Channels of each map: A (5 + K), or K + 5n in a cell of version 1."""
        if self.version == 1:
            return self.classes + 5 * self.boxes
        return self.boxes * (5 + self.classes)

    def with_anchors(self, anchors: Sequence[Anchor]) -> Self:
        """This network, its anchors replaced: the largest go to the coarsest map, see ``by_size``.

        UsageError unless there are ``boxes`` pairs of positive numbers for each map.
        """
        wanted = self.boxes * len(self.strides)
        pairs = [(float(w), float(h)) for w, h in anchors]
        if len(pairs) != wanted or not all(0 < side < math.inf for pair in pairs for side in pair):
            raise UsageError(
                f"expected {wanted} anchors (width, height), positive numbers of pixels, got {list(anchors)}"
            )
        self.anchors = by_size(pairs, len(self.strides))
        return self

    def require(self, x: Tensor, smallest: int = 1) -> None:
        """ShapeError unless x is (B, channels, H, W) with sides that the coarsest stride divides."""
        require_pictures(x, self.channels, smallest)
        step = max(self.strides, default=1)
        if any(side % step for side in x.shape[2:]):
            height, width = (_near(side, step) for side in x.shape[2:])
            raise ShapeError(
                f"height and width must be multiples of {step}, got {x.shape[2]}x{x.shape[3]}; "
                f"use a height of {height} and a width of {width}"
            )


def _near(side: int, step: int) -> str:
    """The multiple of the step, or the two between which the side lies."""
    return " or ".join(str(near) for near in sorted({side // step * step, -(-side // step) * step} - {0}))


def in_order(cells: Tensor, classes: int, boxes: int) -> Tensor:
    """The output of version 1 from a map of its cells: class probabilities, then confidences, then boxes.

    Shape: (B, K + 5n, S, S) -> (B, S² (K + 5n))
    """
    by_cell = cells.permute(0, 2, 3, 1)  # (B, S, S, K + 5n)
    return torch.cat([part.flatten(1) for part in by_cell.split([classes, boxes, 4 * boxes], 3)], 1)


def by_size(anchors: Sequence[Anchor], maps: int) -> Anchors:
    """As many for each map, those of the largest areas for the first; each map keeps the order given."""
    each = len(anchors) // max(maps, 1)
    rank = sorted(range(len(anchors)), key=lambda i: math.prod(anchors[i]))
    shares = (sorted(rank[i * each : (i + 1) * each]) for i in reversed(range(maps)))
    return tuple(tuple(anchors[i] for i in share) for share in shares)


def squares(count: int, smallest: float = 16, largest: float = 256) -> list[Anchor]:
    """Square anchors whose sides have equal ratios, for data whose boxes are not known yet."""
    ratio = largest / smallest
    sides = [smallest * ratio ** (i / max(count - 1, 1)) for i in range(count)]
    return [(side, side) for side in sides]

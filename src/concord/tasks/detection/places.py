"""Places with anchors, as YOLO v2 and v3 have them.

Source: J. Redmon, A. Farhadi, "YOLO9000: better, faster, stronger", 2016, section 2 (anchor boxes, direct
location prediction); the same, "YOLOv3: an incremental improvement", 2018, section 2.1.

A place is one anchor in one cell of one map. Places of all maps stand in one row of N, in the order map,
anchor, row, column.

Departure: e^t stops growing at t = 20, so that an overlap is never inf / inf.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from concord.errors import ShapeError, UsageError

Anchors = tuple[tuple[float, float], ...]  # (w, h) in pixels of the input
LARGEST = 20.0


class Map(NamedTuple):
    """The part of the row that one map fills."""

    anchors: Anchors
    stride: int
    rows: int
    columns: int


class Places(NamedTuple):
    """What is predicted at every place, and where it is.

    Shape: raw (B, N, 5 + K) as t_x, t_y, t_w, t_h, objectness, classes; cell (N, 2) column and row;
    stride (N, 1); anchor (N, 2) sides in pixels
    """

    raw: Tensor
    cell: Tensor
    stride: Tensor
    anchor: Tensor
    maps: tuple[Map, ...]

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the input."""
        one = self.maps[0]
        return one.rows * one.stride, one.columns * one.stride

    def boxes(self, direct: bool) -> Tensor:
        """With ``direct`` x = (sigmoid(t_x) + column) stride, else x = t_x w_a + x_a; w = w_a e^{t_w}.

        x_a is the centre of the cell: the form of region proposal networks, which YOLO9000 prints with a
        minus. Shape: -> (B, N, 4) as x, y, w, h in pixels
        """
        moves = self.raw[..., :2].contiguous()  # numbers side by side go through a sigmoid faster
        if direct:
            centre = (moves.sigmoid() + self.cell) * self.stride
        else:
            centre = moves * self.anchor + (self.cell + 0.5) * self.stride
        return torch.cat([centre, self.anchor * self.raw[..., 2:4].clamp(max=LARGEST).exp()], -1)


def require(anchors: Sequence[Anchors], strides: Sequence[int], classes: int, ignore: float) -> None:
    """UsageError unless there are classes, and every map has anchors with sides and a stride."""
    if classes < 1 or not anchors or len(anchors) != len(strides) or min(strides) < 1:
        raise UsageError(
            "a head needs at least one class, and anchors and a stride of at least 1 for each map; got"
            f" {classes} classes, anchors of {len(anchors)} maps and strides {tuple(strides)}"
        )
    if not all(own and all(len(sides) == 2 and min(sides) > 0 for sides in own) for own in anchors):
        raise UsageError(f"anchors are pairs (w, h) of pixels above 0, got {anchors}")
    if not 0 <= ignore <= 1:
        raise UsageError(f"ignore is an overlap from 0 to 1, got {ignore:g}")


def read(
    outputs: Sequence[Tensor], anchors: Sequence[Anchors], strides: Sequence[int], classes: int
) -> Places:
    """The places of maps (B, A (5 + K), H / stride, W / stride); ShapeError for other maps."""
    _require(outputs, anchors, strides, classes)
    maps = tuple(Map(a, s, *o.shape[2:]) for o, a, s in zip(outputs, anchors, strides, strict=True))
    raw = [
        output.float().unflatten(1, (len(one.anchors), 5 + classes)).permute(0, 1, 3, 4, 2).flatten(1, 3)
        for output, one in zip(outputs, maps, strict=True)
    ]
    where = [_where(one, own) for one, own in zip(maps, raw, strict=True)]
    cell, stride, anchor = (torch.cat(parts) for parts in zip(*where, strict=True))
    return Places(torch.cat(raw, 1), cell, stride, anchor, maps)


def _where(one: Map, raw: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Column and row, stride and anchor of every place of a map. Shape: -> (P, 2), (P, 1), (P, 2)"""
    rows, columns = (torch.arange(n, device=raw.device) for n in (one.rows, one.columns))
    y, x = torch.meshgrid(rows, columns, indexing="ij")
    cell = torch.stack([x, y], -1).flatten(0, 1)  # (rows columns, 2)
    cells = cell.expand(len(one.anchors), -1, -1)
    anchors = raw.new_tensor(one.anchors)[:, None].expand_as(cells)
    return cells.flatten(0, 1), torch.full_like(raw[0, :, :1], one.stride), anchors.flatten(0, 1)


def _require(
    outputs: Sequence[Tensor], anchors: Sequence[Anchors], strides: Sequence[int], classes: int
) -> None:
    channels = [len(own) * (5 + classes) for own in anchors]
    given = [tuple(output.shape) for output in outputs]
    fits = len(given) == len(channels) and all(len(shape) == 4 for shape in given)
    if fits:
        # compared pair by pair: sizes that are free in an export cannot stand in a set
        sizes = [(h * stride, w * stride) for (_, _, h, w), stride in zip(given, strides, strict=True)]
        fits = all(size == sizes[0] for size in sizes) and [shape[1] for shape in given] == channels
    if not fits:
        wanted = ", ".join(f"(B, {c}, H/{s}, W/{s})" for c, s in zip(channels, strides, strict=True))
        raise ShapeError(f"a member must give maps {wanted}, got {', '.join(map(str, given))}")

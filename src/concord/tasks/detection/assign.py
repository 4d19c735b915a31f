"""Which place answers for which object, and which places are background.

Source: darknet's region_layer.c and yolo_layer.c (pjreddie/darknet f6afaab).

Departures from darknet: all boxes of an image are read, not the first 30 or 90; a box of any area above 0
counts, not only from a thousandth of each side of the image on; crowds and difficult boxes are ignored, which
darknet does not have.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from concord.tasks.detection.boxes import Truths, overlap
from concord.tasks.detection.places import Places

CACHED = 2**17  # pairs of a box and a truth whose overlaps stay within the cache of a processor


class Assigned(NamedTuple):
    """The place of every truth.

    Shape: place (B, T); cell, anchor (B, T, 2); stride (B, T, 1); chosen (B, T), the objects that own their
    place; same (B, T, T), objects that share one
    """

    place: Tensor
    cell: Tensor
    anchor: Tensor
    stride: Tensor
    chosen: Tensor
    same: Tensor


class Matched(NamedTuple):
    """What a network gives at the place of every truth, and what it should give.

    Shape: raw (B, T, 5 + K); wanted (B, T, 4) as t_x, t_y, t_w, t_h; weight (B, T) = 2 - w h in shares of the
    image, 0 but where an object owns its place; overlap (B, T) of the predicted box with the truth;
    background (B, N) bool
    """

    raw: Tensor
    wanted: Tensor
    weight: Tensor
    overlap: Tensor
    background: Tensor


def owners(place: Tensor, objects: Tensor) -> tuple[Tensor, Tensor]:
    """The objects that are the last of their place (B, T), and which objects share a place (B, T, T)."""
    same = (place[:, :, None] == place[:, None]) & objects[:, :, None] & objects[:, None]
    return objects & ~same.triu(1).any(2), same


def assign(places: Places, given: Truths, predicted: Tensor | None = None) -> Assigned:
    """Every truth gets the anchor of its cell whose sides are most nearly its own, of all maps.

    That is the highest IoU of two boxes with one centre. Of several objects at one place the last owns it.
    With predicted boxes (B, N, 4), their sides are compared instead of the anchors.
    """
    heads = [(one, start, i) for one, start in zip(places.maps, _starts(places), strict=True)
             for i in range(len(one.anchors))]  # fmt: skip
    strides, limits, first = (
        torch.tensor(values, device=given.boxes.device)
        for values in (
            [one.stride for one, _, _ in heads],
            [(one.columns - 1, one.rows - 1) for one, _, _ in heads],
            [start + i * one.rows * one.columns for one, start, i in heads],
        )
    )
    anchors = given.boxes.new_tensor([one.anchors[i] for one, _, i in heads])  # (A, 2)
    # ignored boxes may have their centre outside of the image: they get the nearest cell
    cells = (given.boxes[:, :, None, :2] / strides[:, None]).long().clamp(min=0).minimum(limits)
    choices = first + cells[..., 1] * (limits[:, 0] + 1) + cells[..., 0]  # (B, T, A)
    sides = anchors.expand(*choices.shape, 2)
    if predicted is not None:
        sides = _at(predicted[..., 2:], choices.flatten(1)).view_as(sides)
    best = _alike(sides, given.boxes[:, :, None, 2:]).argmax(-1, keepdim=True)  # (B, T, 1)
    place = choices.gather(2, best)[..., 0]
    chosen, same = owners(place, given.objects)
    cell = cells.gather(2, best[..., None].expand(-1, -1, -1, 2))[:, :, 0]
    return Assigned(place, cell, anchors[best[..., 0]], strides[best], chosen, same)


def match(places: Places, given: Truths, owned: Assigned, *, direct: bool, ignore: float) -> Matched:
    """What an assignment asks of the network.

    A place is background unless it answers for a truth, or its box overlaps one by more than ``ignore``.
    Targets are the inverse of ``Places.boxes``, but of the sigmoid. Only ``raw`` has a gradient.
    """
    with torch.no_grad():
        centre, sides = given.boxes.chunk(2, -1)
        if direct:
            offset = centre / owned.stride - owned.cell
        else:
            offset = (centre - (owned.cell + 0.5) * owned.stride) / owned.anchor
        wanted = torch.cat([offset, (sides / owned.anchor).log()], -1)
        height, width = places.size
        weight = (2 - sides.prod(-1) / (height * width)) * owned.chosen
        boxes = places.boxes(direct)
        found = overlap(_at(boxes, owned.place), given.boxes)
        background = _background(boxes, owned.place, given, ignore)
    return Matched(_at(places.raw, owned.place), wanted, weight, found, background)


def marked(place: Tensor, where: Tensor, count: int) -> Tensor:
    """Which of ``count`` places are those of the rows in ``where``. Shape: (B, T) twice -> (B, count) bool"""
    spare = torch.where(where, place, count)  # other rows write to a place behind the last
    found = torch.zeros(len(place), count + 1, dtype=torch.bool, device=place.device)
    return found.scatter(1, spare, True)[:, :-1]


def _starts(places: Places) -> list[int]:
    counts = [len(one.anchors) * one.rows * one.columns for one in places.maps]
    return [sum(counts[:i]) for i in range(len(counts))]


def _alike(a: Tensor, b: Tensor) -> Tensor:
    """IoU of boxes with one centre. Shape: sides (..., 2), broadcast -> (...)"""
    shared = torch.minimum(a, b).prod(-1)
    return shared / (a.prod(-1) + b.prod(-1) - shared)


def _background(boxes: Tensor, place: Tensor, given: Truths, ignore: float) -> Tensor:
    """Shape: -> (B, N) bool"""
    there = given.objects | given.ignored
    pairs = boxes.shape[1] * max(1, place.shape[1])
    part = max(1, CACHED // pairs) if boxes.device.type == "cpu" else len(boxes)
    parts = zip(*(x.split(part) for x in (boxes, given.boxes, given.crowd, there)), strict=True)
    return ~torch.cat([_covered(*one, ignore=ignore) for one in parts]) & ~marked(
        place, there, boxes.shape[1]
    )


def _covered(boxes: Tensor, truths: Tensor, crowd: Tensor, there: Tensor, *, ignore: float) -> Tensor:
    """Which places have a box that overlaps a truth by more than ``ignore``. Shape: -> (B, N) bool"""
    # places last: they are many, and lie one behind the other in memory
    near = overlap(boxes[:, None], truths[:, :, None], crowd[:, :, None])  # (B, T, N)
    return ((near > ignore) & there[:, :, None]).any(1)


def _at(values: Tensor, place: Tensor) -> Tensor:
    """Shape: (B, N, D), (B, T) -> (B, T, D)"""
    return values.gather(1, place[..., None].expand(-1, -1, values.shape[-1]))

"""Targets of detectors as tests need them."""

import pytest
import torch

from concord.tasks.detection.v1 import YoloV1
from concord.tasks.detection.v2 import YoloV2
from concord.tasks.detection.v3 import YoloV3

SIZE = (64, 96)  # height and width
ANCHORS = ((11.0, 9.0), (30.0, 41.0))
HEADS = {
    "v1": YoloV1(3, cells=4, boxes=2, size=SIZE),
    "v2": YoloV2(3, (*ANCHORS, (50.0, 20.0)), stride=16),
    "v3": YoloV3(3, (((40.0, 50.0), (60.0, 30.0)), ANCHORS), strides=(32, 16)),
}


def target_of(images, crowd=(), difficult=()):
    """Images are lists of (label, x, y, w, h) in shares of the image; the flags name (image, box)."""
    most = max(1, *map(len, images))
    target = {
        "boxes": torch.zeros(len(images), most, 4, dtype=torch.float64),
        "labels": torch.full((len(images), most), -1),
        "crowd": torch.zeros(len(images), most, dtype=torch.bool),
        "difficult": torch.zeros(len(images), most, dtype=torch.bool),
    }
    for b, boxes in enumerate(images):
        for t, (label, x, y, w, h) in enumerate(boxes):
            x1, x2 = (x - w / 2) * SIZE[1], (x + w / 2) * SIZE[1]
            y1, y2 = (y - h / 2) * SIZE[0], (y + h / 2) * SIZE[0]
            target["boxes"][b, t] = torch.tensor([x1, y1, x2, y2], dtype=torch.float64)
            target["labels"][b, t] = label
    for key, places in (("crowd", crowd), ("difficult", difficult)):
        for b, t in places:
            target[key][b, t] = True
    return target


def image_of(seed, boxes, classes=3):
    """Boxes that lie anywhere in an image."""
    g = torch.Generator().manual_seed(seed)
    places = torch.rand(boxes, 4, generator=g, dtype=torch.float64)
    labels = torch.randint(classes, (boxes,), generator=g).tolist()
    return [
        (k, x, y, 0.05 + 0.6 * w, 0.05 + 0.6 * h)
        for k, (x, y, w, h) in zip(labels, places.tolist(), strict=True)
    ]


def output_of(head, images, seed=0):
    """Numbers as a network of that head might give them, in float64."""
    g = torch.Generator().manual_seed(seed)

    def drawn(*shape):
        return torch.randn(images, *shape, generator=g, dtype=torch.float64)

    if isinstance(head, YoloV1):
        return drawn(head.cells**2 * (head.classes + 5 * head.boxes)) / 2
    if isinstance(head, YoloV2):
        return drawn(len(head.anchors) * (5 + head.classes), SIZE[0] // head.stride, SIZE[1] // head.stride)
    return tuple(
        drawn(len(own) * (5 + head.classes), SIZE[0] // stride, SIZE[1] // stride)
        for own, stride in zip(head.anchors, head.strides, strict=True)
    )


@pytest.fixture
def exact(monkeypatch):
    """Heads compute in float64."""
    monkeypatch.setattr(torch.Tensor, "float", torch.Tensor.double)

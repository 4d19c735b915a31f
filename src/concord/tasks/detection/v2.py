"""YOLO v2: one map of places with anchors, squared errors, softmax classes.

Source: J. Redmon, A. Farhadi, "YOLO9000: better, faster, stronger", 2016, section 2; darknet's region_layer.c
with the settings of yolov2-voc.cfg (object_scale 5, the others 1, thresh .6, rescore, bias_match, softmax).
The gradient is that of darknet's GPU path, which sends squared errors back through the sigmoid; its CPU path
has no backward pass.

Departure: what darknet does while ``seen`` is below 12,800 images, a pull of all boxes to their anchors, is
the weight ``pull`` of the head, 0 unless given: a loss does not know how many images have been seen. Train
those images with ``replace(head, pull=0.01)``.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from concord.errors import UsageError
from concord.tasks.detection.assign import assign, marked, match
from concord.tasks.detection.boxes import Target, corners, truths
from concord.tasks.detection.head import Decoded, Parts, everywhere, shares
from concord.tasks.detection.places import Anchors, Places, read, require
from concord.tasks.task import Compared


@dataclass(frozen=True)
class YoloV2:
    """A map (B, A (5 + K), H, W), each anchor with t_x, t_y, t_w, t_h, t_o and K class logits.

    ``anchors`` are (w, h) in pixels. ``direct=False`` leaves x and y without bounds. ``by_prediction`` gives
    an object to the box of its cell whose predicted sides fit best, whatever its anchor: darknet's
    bias_match=0.
    """

    classes: int
    anchors: Anchors
    stride: int = 32
    direct: bool = True
    by_prediction: bool = False
    ignore: float = 0.6
    object_weight: float = 5.0
    pull: float = 0.0

    def __post_init__(self) -> None:
        require((self.anchors,), (self.stride,), self.classes, self.ignore)
        if self.pull < 0:
            raise UsageError(f"pull is a weight of at least 0, got {self.pull:g}")

    @classmethod
    def without_anchors(cls, classes: int, boxes: int = 5, stride: int = 32) -> "YoloV2":
        """Anchors switched off: ``boxes`` boxes of a cell learn their sides from half a cell, without priors.

        These are darknet's own values where a configuration names no anchors, with bias_match=0.
        """
        return cls(classes, ((stride / 2, stride / 2),) * boxes, stride, by_prediction=True)

    def parts(self, output: Tensor, target: Target) -> Parts:
        """The loss in parts, with s = sigmoid(t), and c = 2 - w h of an object in shares of the image.

            1/2 sum_obj c ((s_x - x')^2 + (s_y - y')^2 + (t_w - ln w'/w_a)^2 + (t_h - ln h'/h_a)^2)
            1/2 5 sum_obj (s_o - IoU)^2 + 1/2 sum_background s_o^2
            -sum_obj ln softmax(classes)[class]

        ``pull`` adds 1/2 pull ((s_x - .5)^2 + (s_y - .5)^2 + t_w^2 + t_h^2) at all other places. Without
        ``direct``, t_x stands for s_x, and x' is 0 in the middle of the cell. The IoU is a constant. Raises
        ShapeError, DataError. Shape: -> parts (B,)
        """
        places = self._read(output)
        given = truths(target, places.size, self.classes)
        owned = assign(places, given, places.boxes(self.direct).detach() if self.by_prediction else None)
        found = match(places, given, owned, direct=self.direct, ignore=self.ignore)
        wrong = (self._offsets(found.raw) - found.wanted).square().sum(-1) * found.weight
        box = wrong.sum(1) / 2
        if self.pull:
            answers = marked(owned.place, owned.chosen, len(places.cell))
            middle = places.raw.new_tensor([0.5, 0.5, 0, 0] if self.direct else [0, 0, 0, 0])
            apart = (self._offsets(places.raw) - middle).square().sum(-1)
            box = box + self.pull / 2 * (apart * ~answers).sum(1)
        right = ((found.raw[..., 4].sigmoid() - found.overlap).square() * owned.chosen).sum(1)
        background = (places.raw[..., 4].contiguous().sigmoid().square() * found.background).sum(1)
        nats = -found.raw[..., 5:].log_softmax(-1).gather(2, given.labels[..., None])[..., 0]
        objectness = (self.object_weight * right + background) / 2
        return Parts(box, objectness, (nats * owned.chosen).sum(1), found.overlap, owned.chosen)

    def loss(self, output: Tensor, target: Target) -> Tensor:
        """The sum of ``parts``. Shape: -> (B,)"""
        return self.parts(output, target).total

    def decode(self, output: Tensor) -> Decoded:
        """All boxes, with scores sigmoid(t_o) softmax(classes). Shape: -> (B, A H W, 4), (B, A H W, K)"""
        places = self._read(output)
        scores = places.raw[..., 4:5].sigmoid() * places.raw[..., 5:].softmax(-1)
        return Decoded(corners(places.boxes(self.direct)), scores, places.size)

    def compare(self, output: Tensor, target: Target | None) -> Compared:
        """One row for each place with an object: the logits of nothing and of each class, 1 per sample.

            [0, t_o + ln softmax(classes)], whose softmax is [1 - s_o, s_o softmax(classes)]

        Places follow from the anchors and the truth alone, so that they are the same for all members. Without
        a target the rows are those of all places. Shape: rows (R, 1 + K)
        """
        places = self._read(output)
        if target is None:
            return everywhere(_logits(places.raw))
        given = truths(target, places.size, self.classes)
        owned = assign(places, given)
        rows = _logits(places.raw).gather(1, owned.place[..., None].expand(-1, -1, 1 + self.classes))
        weights = shares(owned.chosen)
        return Compared(rows[owned.chosen], weights[owned.chosen], given.labels[owned.chosen] + 1)

    def _read(self, output: Tensor) -> Places:
        return read([output], (self.anchors,), (self.stride,), self.classes)

    def _offsets(self, raw: Tensor) -> Tensor:
        centre = raw[..., :2].sigmoid() if self.direct else raw[..., :2]
        return torch.cat([centre, raw[..., 2:4]], -1)


def _logits(raw: Tensor) -> Tensor:
    """Of nothing and of each class. Shape: (B, N, 5 + K) -> (B, N, 1 + K)"""
    return torch.cat([torch.zeros_like(raw[..., :1]), raw[..., 4:5] + raw[..., 5:].log_softmax(-1)], -1)

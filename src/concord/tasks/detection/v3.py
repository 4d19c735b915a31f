"""YOLO v3: places on several maps, logistic objectness and classes.

Source: J. Redmon, A. Farhadi, "YOLOv3: an incremental improvement", 2018, sections 2.1 to 2.3; darknet's
yolo_layer.c. Ignored are boxes that overlap an object by more than .5 in the paper and in yolov3-voc.cfg, by
more than .7 in yolov3.cfg. Darknet adds t - sigmoid(z) straight to the gradient of a logit z, which is the
cross entropy of a share t.

Departure: darknet's ``truth_thresh``, which is 1 in every published configuration and so without effect, is
left out.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from concord.tasks.detection.assign import assign, match
from concord.tasks.detection.boxes import Target, corners, truths
from concord.tasks.detection.head import Decoded, Parts, everywhere, shares
from concord.tasks.detection.places import Anchors, Places, read, require
from concord.tasks.task import Compared


@dataclass(frozen=True)
class YoloV3:
    """Maps (B, A (5 + K), H, W), each anchor with t_x, t_y, t_w, t_h, t_o and K class logits.

    ``anchors`` are (w, h) in pixels for each map, ``strides`` those of the maps. An object has one place
    among all maps, and every class that objects at its place have. ``direct=False`` leaves x and y without
    bounds.
    """

    classes: int
    anchors: tuple[Anchors, ...]
    strides: tuple[int, ...]
    direct: bool = True
    ignore: float = 0.5

    def __post_init__(self) -> None:
        require(self.anchors, self.strides, self.classes, self.ignore)

    def parts(self, output: Sequence[Tensor], target: Target) -> Parts:
        """The loss in parts, with H(t, z) = -(t ln s + (1 - t) ln (1 - s)), s = sigmoid(z), and c = 2 - w h.

            sum_obj c (H(x', t_x) + H(y', t_y) + 1/2 (t_w - ln w'/w_a)^2 + 1/2 (t_h - ln h'/h_a)^2)
            sum_obj H(1, t_o) + sum_background H(0, t_o)
            sum_obj sum_k H([k is a class of the place], t_k)

        w and h of c are shares of the image. Without ``direct``, 1/2 (t_x - x')^2 stands for H(x', t_x), and
        x' is 0 in the middle of the cell. Raises ShapeError, DataError. Shape: -> parts (B,)
        """
        places = self._read(output)
        given = truths(target, places.size, self.classes)
        owned = assign(places, given)
        found = match(places, given, owned, direct=self.direct, ignore=self.ignore)
        wrong = (found.raw[..., :4] - found.wanted).square() / 2
        if self.direct:
            wrong = torch.cat([_nats(found.raw[..., :2], found.wanted[..., :2]), wrong[..., 2:]], -1)
        right = F.softplus(-found.raw[..., 4]) * owned.chosen
        background = F.softplus(places.raw[..., 4].contiguous()) * found.background
        named = (owned.same.to(wrong.dtype) @ F.one_hot(given.labels, self.classes).to(wrong.dtype)).clamp(
            max=1
        )
        classes = _nats(found.raw[..., 5:], named).sum(-1) * owned.chosen
        box = (wrong.sum(-1) * found.weight).sum(1)
        return Parts(box, right.sum(1) + background.sum(1), classes.sum(1), found.overlap, owned.chosen)

    def loss(self, output: Sequence[Tensor], target: Target) -> Tensor:
        """The sum of ``parts``. Shape: -> (B,)"""
        return self.parts(output, target).total

    def decode(self, output: Sequence[Tensor]) -> Decoded:
        """All boxes, with scores sigmoid(t_o) sigmoid(t_k). Shape: -> (B, N, 4), (B, N, K)"""
        places = self._read(output)
        sure = places.raw[..., 4:].contiguous().sigmoid()
        scores = sure[..., :1] * sure[..., 1:]
        return Decoded(corners(places.boxes(self.direct)), scores, places.size)

    def compare(self, output: Sequence[Tensor], target: Target | None) -> Compared:
        """Rows [z, 0] of objectness and of each class, at each place with an object, 1 per sample together.

        Each is a yes or no of its own, whose softmax is [s, 1 - s]; its label is 0 for yes. Places follow
        from the anchors and the truth alone. Without a target the rows are those of all places.

        Shape: rows (R (1 + K), 2)
        """
        places = self._read(output)
        if target is None:
            return everywhere(_pairs(places.raw[..., 4:]).flatten(1, 2))
        given = truths(target, places.size, self.classes)
        owned = assign(places, given)
        logits = places.raw[..., 4:].gather(1, owned.place[..., None].expand(-1, -1, 1 + self.classes))
        named = (owned.same[..., None] & (F.one_hot(given.labels, self.classes) > 0)[:, None]).any(2)
        absent = torch.cat([torch.zeros_like(named[..., :1]), ~named], -1).long()[owned.chosen]
        weights = (shares(owned.chosen) / (1 + self.classes))[owned.chosen]
        return Compared(
            _pairs(logits[owned.chosen]).flatten(0, 1),
            weights.repeat_interleave(1 + self.classes),
            absent.flatten(),
        )

    def _read(self, output: Sequence[Tensor]) -> Places:
        return read(output, self.anchors, self.strides, self.classes)


def _nats(z: Tensor, share: Tensor) -> Tensor:
    """-(t ln s + (1 - t) ln (1 - s)) with s = sigmoid(z), of every number."""
    return F.binary_cross_entropy_with_logits(z, share, reduction="none")


def _pairs(z: Tensor) -> Tensor:
    """Logits of yes and of no. Shape: (...) -> (..., 2)"""
    return torch.stack([z, torch.zeros_like(z)], -1)

"""One box for each object: suppression of boxes of the same class that overlap a better one.

Source: darknet's box.c and detector.c (per class, an overlap above .45; one equal to it is kept);
N. Bodla, B. Singh, R. Chellappa, L. S. Davis, "Soft-NMS: improving object detection with one line of code",
ICCV 2017, section 3 (overlap .3 of the linear form, sigma .5 of the Gaussian).

Departure: Soft-NMS decays scores within a class, where the paper's figure 3 has one class.
"""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor
from torchvision.ops import batched_nms

from concord.tasks.detection.boxes import FILLING, centred
from concord.tasks.detection.boxes import overlap as overlap_of
from concord.tasks.detection.decode import Detections, filled, rows_of, taken

OVERLAP = 0.45  # of boxes of a class, above which the less sure one is left out
LEAST = 0.001  # the score at which a decayed box is left out


def hard(found: Detections, most: int = 100, overlap: float = OVERLAP) -> dict[str, Tensor]:
    """The ``most`` best boxes that overlap no better one of their class by more than ``overlap``.

    Shape: D rows -> ``most`` rows
    """
    images = zip(found["boxes"], found["scores"], found["labels"], strict=True)
    rows = [_kept(*one, overlap=overlap) for one in images]
    spare = rows[0].new_full((most,), found["labels"].shape[1])  # a row that only fills up, behind the last
    index = torch.stack([torch.cat([row, spare])[:most] for row in rows])
    return taken(filled(found, found["labels"].shape[1] + 1), index)


def _kept(boxes: Tensor, scores: Tensor, labels: Tensor, *, overlap: float) -> Tensor:
    """``kept``, without a look at rows that only fill up: they are most where few boxes are sure."""
    if torch.compiler.is_exporting():
        return kept(boxes, scores, labels, overlap=overlap)
    there = (labels != FILLING).nonzero()[:, 0]
    if not len(there):
        return there
    return there[kept(boxes[there], scores[there], labels[there], overlap=overlap)]


def kept(boxes: Tensor, scores: Tensor, labels: Tensor, *, overlap: float) -> Tensor:
    """Numbers of the rows that suppression within a class leaves, by falling score.

    torchvision keeps classes apart by moving each by the largest coordinate. Boxes that begin left of the
    image would reach into the class before, so they begin at 0 here; in float64, that the moves lose nothing,
    but in an exported network, since ONNX suppresses in float32 alone.

    Shape: (D, 4), (D,), (D,) -> (R,)
    """
    exact = torch.float32 if torch.compiler.is_exporting() else torch.float64
    apart = boxes.to(exact) - boxes.min().to(exact)
    return batched_nms(apart, scores.to(exact), labels, overlap)


def soft(
    found: Detections, most: int = 100, *, decay: Callable[[Tensor], Tensor], least: float = LEAST
) -> dict[str, Tensor]:
    """The best box is taken, scores of its class decay by their overlap with it, then the best of the rest.

        s_i <- s_i decay(IoU(best, b_i))

    Ends after ``most`` boxes; those whose score has fallen to ``least`` are left out.

    Shape: D rows -> ``most`` rows
    """
    boxes, labels, left = centred(found["boxes"]), found["labels"], found["scores"]
    rows, scores = [], []
    for _ in range(min(most, left.shape[1])):
        score, best = left.max(1, keepdim=True)
        rows.append(best)
        scores.append(torch.where(score > least, score, 0.0))
        shared = overlap_of(boxes, rows_of(boxes, best))
        same = labels == labels.gather(1, best)
        left = torch.where(same, left * decay(shared), left).scatter(1, best, 0.0)
    return filled(taken(found, torch.cat(rows, 1), torch.cat(scores, 1)), most)


def linear(overlap: float = 0.3) -> Callable[[Tensor], Tensor]:
    """1 - IoU from an IoU of ``overlap`` on, 1 below it."""
    return lambda shared: torch.where(shared >= overlap, 1 - shared, 1.0)


def gaussian(sigma: float = 0.5) -> Callable[[Tensor], Tensor]:
    """e^{-IoU^2 / sigma}."""
    return lambda shared: (-shared.square() / sigma).exp()


SUPPRESSIONS: dict[str, Callable[[Detections, int], dict[str, Tensor]]] = {
    "hard": hard,
    "linear": partial(soft, decay=linear()),
    "gaussian": partial(soft, decay=gaussian()),
}

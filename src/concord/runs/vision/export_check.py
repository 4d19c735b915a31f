"""Whether an exported file says what the members say, on pictures of three sizes."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torchvision.ops import box_iou

from concord.runs.export_deployed import within_tolerance
from concord.runs.export_formats import Ask, Free
from concord.runs.vision.deployed import LEAST_SCORE, deployed, fitting, inputs_of, random_pixels
from concord.runs.vision.loading import LoadedVision
from concord.tasks.detection.suppress import OVERLAP

SIDES = (64, 96, 160)  # of the pictures, as near as they fit
BATCHES = (1, 2, 3)
NEAR = 1e-3  # of a score or an overlap to its threshold, where rounding decides whether a box is left
FEW = 0.01  # of all boxes, of which rounding may decide
PIECE = 1000  # boxes that are compared with all others at once
ELSEWHERE = 10.0  # how far boxes of other classes or pictures lie apart, in shares of a picture


def largest_difference(ask: Ask, loaded: LoadedVision, chosen: Mapping[str, nn.Module]) -> float:
    """Of any number between the exported file and the members, over three sizes and batches.

    Corners of boxes count in shares of the picture; nearly equal scores may stand in another order, and of
    few boxes rounding may decide whether they are left. UsageError if it is more than the tolerance, or if
    there are other boxes.
    """
    network, inputs = deployed(loaded, list(chosen.values())), inputs_of(loaded, chosen)
    (example,), (axes,) = inputs.example.values(), inputs.free.values()
    worst = torch.zeros(())
    with torch.no_grad():
        for batch, side in zip(BATCHES, SIDES, strict=True):
            size = [
                fitting(side, axis) if isinstance(axis := axes.get(i), Free) else example.shape[i]
                for i in (2, 3)
            ]
            pixels = random_pixels(example.shape[1], batch, *size)
            found, wanted = ask(pixels), network(pixels)
            if isinstance(wanted, Tensor):
                apart = (found - wanted).abs().max()
            else:
                apart = between_boxes(*(rows_of(max(size), *given) for given in (found, wanted)))
            worst = torch.maximum(worst, apart)
    return within_tolerance(worst)


def rows_of(side: int, boxes: Tensor, scores: Tensor, labels: Tensor, images: Tensor) -> Tensor:
    """Boxes as points, far apart where class or picture differ. Shape: -> (N, 7)"""
    whole = torch.stack([labels, images], 1) * ELSEWHERE
    return torch.cat([boxes / side, scores[:, None], whole], 1).float()


def between_boxes(found: Tensor, wanted: Tensor) -> Tensor:
    """The largest distance of a box to the nearest of the others, infinity where it is none of them.

    Left out are few boxes that the others have not: such as have a score near its threshold, or overlap
    another box of the others nearly as much as suppression allows, or more. Shape: (N, 7), (N', 7) -> ()
    """
    if not len(found) and not len(wanted):
        return torch.zeros(())
    apart = torch.cat([_apart(found, wanted), _apart(wanted, found)])
    decided = apart.isinf()
    if decided.sum() > max(1, FEW * (len(found) + len(wanted))):
        return torch.tensor(torch.inf)
    return apart[~decided].max() if (~decided).any() else torch.tensor(torch.inf)


def _apart(some: Tensor, others: Tensor) -> Tensor:
    """Of each box the distance to the nearest of the others, infinity where rounding decided about it."""
    if not len(others):
        return torch.full((len(some),), torch.inf)
    distances = [_of_piece(part, others) for part in some.split(PIECE)]
    return torch.cat(distances) if distances else torch.zeros(0)


def _of_piece(part: Tensor, others: Tensor) -> Tensor:
    nearest = torch.cdist(part, others, p=torch.inf).amin(1)
    alike = (part[:, None, 5:] == others[None, :, 5:]).all(2)
    most = (box_iou(part[:, :4], others[:, :4]) * alike).amax(1)
    decided = (nearest > NEAR) & ((part[:, 4] < LEAST_SCORE + NEAR) | (most > OVERLAP - NEAR))
    return nearest.masked_fill(decided, torch.inf)

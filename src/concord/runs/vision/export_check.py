"""Whether an exported file says what the members say, on pictures of three sizes."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from concord.runs.export_deployed import within_tolerance
from concord.runs.export_formats import Ask, Free
from concord.runs.vision.deployed import deployed, fitting, inputs_of, random_pixels
from concord.runs.vision.loading import LoadedVision

SIDES = (64, 96, 160)  # of the pictures, as near as they fit
BATCHES = (1, 2, 3)
PIECE = 1000  # boxes that are compared with all others at once
ELSEWHERE = 10.0  # how far boxes of other classes or pictures lie apart, in shares of a picture


def largest_difference(ask: Ask, loaded: LoadedVision, chosen: Mapping[str, nn.Module]) -> float:
    """Of any number between the exported file and the members, over three sizes and batches.

    Corners of boxes count in shares of the picture; nearly equal scores may stand in another order.
    UsageError if it is more than the tolerance, or if there are more or fewer boxes.
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
    """The largest distance of a box to the nearest of the others. Shape: (N, 7), (N, 7) -> ()"""
    if found.shape != wanted.shape:
        return torch.tensor(torch.inf)
    if not len(found):
        return torch.zeros(())
    apart = [torch.cdist(part, wanted, p=torch.inf).amin(1).max() for part in found.split(PIECE)]
    back = [torch.cdist(part, found, p=torch.inf).amin(1).max() for part in wanted.split(PIECE)]
    return torch.stack([*apart, *back]).max()

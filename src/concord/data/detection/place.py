"""One canvas for all images of a set, and where each of them lies on it.

An image is scaled with its proportions and laid on the middle of a grey canvas. Source: darknet's
``letterbox_image`` (J. Redmon, pjreddie/darknet, image.c), with grey 128 for its 0.5. Departure: the canvas
is as small as the images of the set allow: images of 640x480 lie on a canvas of that shape.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from concord.errors import UsageError

GREY = 128
MULTIPLE = 32  # pixels; the stride of the deepest map of YOLO v2 and v3
LARGEST = 4096
Size = tuple[int, int]


def canvas_of(sizes: Iterable[Size], side: int, multiple: int = MULTIPLE) -> Size:
    """Height and width of the smallest canvas of multiples that holds images whose longest side is ``side``.

    ``sizes`` are widths and heights. UsageError for a side that is not a multiple.
    """
    if multiple < 1 or not multiple <= side <= LARGEST or side % multiple:
        below = max(1, round(side / max(1, multiple))) * max(1, multiple)
        raise UsageError(
            f"the size of images must be a multiple of {multiple} up to {LARGEST}, got {side}: use {below}"
        )
    scaled = [_scaled(size, side / max(size)) for size in sizes]
    width, height = (max((each[axis] for each in scaled), default=side) for axis in (0, 1))
    return -(-height // multiple) * multiple, -(-width // multiple) * multiple


def _scaled(size: Size, scale: float) -> Size:
    width, height = (max(1, round(side * scale)) for side in size)
    return width, height


@dataclass(frozen=True)
class Place:
    """Where an image lies on the canvas: its size there, and the place of its upper left corner."""

    file: Size  # width, height
    width: int
    height: int
    left: int
    top: int

    @classmethod
    def of(cls, file: Size, canvas: Size) -> "Place":
        """As large as the canvas (height, width) holds, in its middle."""
        height, width = canvas
        w, h = _scaled(file, min(width / file[0], height / file[1]))
        w, h = min(w, width), min(h, height)
        return cls(file, w, h, (width - w) // 2, (height - h) // 2)

    def moved(self, boxes: Tensor) -> Tensor:
        """Boxes in pixels of the file -> in pixels of the canvas. Shape: (..., 4) -> (..., 4)"""
        scale, shift = self._affine(boxes)
        return boxes * scale + shift

    def restored(self, boxes: Tensor) -> Tensor:
        """Boxes in pixels of the canvas -> in pixels of the file, clipped to it. Shape: (..., 4)"""
        scale, shift = self._affine(boxes)
        most = boxes.new_tensor([*self.file, *self.file])
        return ((boxes - shift) / scale).clamp(min=0).minimum(most)

    def _affine(self, like: Tensor) -> tuple[Tensor, Tensor]:
        scale = (self.width / self.file[0], self.height / self.file[1])
        return like.new_tensor([*scale, *scale]), like.new_tensor([self.left, self.top] * 2)

    def on_canvas(self, pixels: Tensor, canvas: Size) -> Tensor:
        """The scaled image on grey. Shape: (3, height, width) uint8 -> (3, H, W) uint8"""
        out = torch.full((3, *canvas), GREY, dtype=torch.uint8)
        out[:, self.top : self.top + self.height, self.left : self.left + self.width] = pixels
        return out

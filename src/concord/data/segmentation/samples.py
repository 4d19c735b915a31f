"""Images with their masks as a data set: crops to train on, whole images to evaluate."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate

import numpy as np
import torch
from torch import Tensor

from concord.data.dataset import Draw, Spec, Tree
from concord.data.held import Held
from concord.data.images import decode
from concord.data.images.decode import Mode
from concord.data.normalise import Normalise
from concord.data.segmentation.border import Border, between
from concord.data.segmentation.crops import Crops, Layers
from concord.data.segmentation.pairs import Pair
from concord.data.segmentation.table import NOTHING, Table
from concord.errors import DataError, UsageError

AREA = 2**20  # pixels of a batch of whole images


@dataclass(frozen=True)
class Known:
    """What a training fixed, and other images must have too: classes, colours, statistics."""

    table: Table
    mode: Mode
    normalise: Normalise


@dataclass(frozen=True)
class Weighting:
    """Weights of training pixels: borders, and ``balance``, w_c of each class."""

    border: Border
    balance: tuple[float, ...]


@dataclass(frozen=True, eq=False)
class Masks:
    """Images (B, C, H, W) uint8 with classes (B, H, W) int64, -1 where a pixel counts for nothing.

    With ``crops`` samples are windows, as many as cover the images; else they are whole images, and a batch
    has images of one size. With ``weighting`` a target is {"classes": (B, H, W), "weights": (B, H, W)
    float32}. What is decoded is kept while there is room for it.
    """

    pairs: Sequence[Pair]
    sizes: Sequence[tuple[int, int]]  # height, width
    known: Known
    fingerprint: str
    crops: Crops | None = None
    weighting: Weighting | None = None
    largest: float = decode.LARGEST  # megapixels of an image

    @property
    def spec(self) -> Spec:
        sizes = {self.crops.sides} if self.crops else set(self.sizes)
        shape = next(iter(sizes)) if len(sizes) == 1 else ("H", "W")
        channels = 1 if self.known.mode == "L" else 3
        return Spec("masks", (channels, *shape), torch.uint8, self.known.table.classes, self.known.normalise)

    @property
    def classes(self) -> tuple[str, ...]:
        return self.known.table.classes

    @property
    def at_once(self) -> int:
        """Samples of a batch for evaluation: about a million pixels, or 1 where sizes differ."""
        sizes = {self.crops.sides} if self.crops else set(self.sizes)
        return 1 if len(sizes) > 1 else max(1, AREA // int(np.prod(next(iter(sizes)))))

    def __len__(self) -> int:
        return self._ends[-1]

    def batch(self, index: Tensor, draw: Draw | None) -> tuple[Tree, Tree]:
        """Raises DataError for a file that changed, UsageError for whole images of several sizes."""
        samples = [self._sample(i, draw) for i in index.tolist()]
        if len({sample[1].shape for sample in samples}) > 1:
            raise UsageError(f"a batch of whole images needs one size; ask for {self.at_once} at a time")
        images, classes, *weights = (torch.stack(layer) for layer in zip(*samples, strict=True))
        if self.weighting is None:
            return images, classes.long()
        return images, {"classes": classes.long(), "weights": weights[0]}

    def name(self, i: int) -> str:
        image, crop = self._place(i)
        name = str(self.pairs[image].image)
        return f"{name}, crop {crop}" if self.crops else name

    def layers(self, image: int) -> Layers:
        """A whole image, its classes, and weights where there are any; not to be changed."""
        return self._held[image]

    def _sample(self, i: int, draw: Draw | None) -> Layers:
        image, crop = self._place(i)
        layers = self._held[image]
        if self.crops is None:
            return layers
        return self.crops.placed(layers, crop) if draw is None else self.crops.drawn(layers, i, draw)

    def _place(self, i: int) -> tuple[int, int]:
        """The number of an image, and of a crop of it."""
        image = int(np.searchsorted(self._ends, i, side="right"))
        return image, i - (self._ends[image - 1] if image else 0)

    @cached_property
    def _ends(self) -> list[int]:
        """Samples of the images up to each one, that one included."""
        layouts = [self.crops.layout(size) if self.crops else (1, 1) for size in self.sizes]
        return list(accumulate(rows * columns for rows, columns in layouts))

    @cached_property
    def _held(self) -> Held[Layers]:
        return Held(self._decoded)

    def _decoded(self, number: int) -> Layers:
        pair = self.pairs[number]
        image, classes = decoded(pair, self.known, self.largest)
        if tuple(classes.shape) != self.sizes[number]:
            raise DataError(f"{pair.image} has changed since the data were read; start the command again")
        if self.weighting is None:
            return image, classes
        return image, classes, weights(classes, self.weighting, self.known.table.classes)


def decoded(pair: Pair, known: Known, largest: float) -> tuple[Tensor, Tensor]:
    """Image and classes of a pair, checked against each other.

    Shape: (C, H, W) uint8, (H, W) int16. Raises DataError that names the file.
    """
    with decode.quiet():
        image = decode.image(pair.image.path, known.mode, None, largest, pair.image.frame or 0)
        raster = pair.truth.read(largest)
    if raster.codes.shape != image.shape[1:]:
        raise DataError(f"{pair.truth}: {unequal(raster.codes.shape, image.shape[1:])}")
    try:
        return image, known.table.classes_of(raster)
    except ValueError as error:
        raise DataError(f"{pair.truth} {error}") from None


def unequal(mask: Sequence[int], image: Sequence[int]) -> str:
    """What is wrong with a mask of another size than its image, each (height, width)."""
    return f"the mask has {mask[1]}x{mask[0]} pixels, its image {image[1]}x{image[0]}"


def weights(classes: Tensor, weighting: Weighting, names: Sequence[str]) -> Tensor:
    """w_c + the term of borders, 0 where a pixel counts for nothing. Shape: (H, W) -> (H, W) float32"""
    border = weighting.border
    objects = (classes == border.number(names)).numpy()
    balance = torch.tensor([*weighting.balance, 0.0])  # the last one is that of class -1
    whole = balance[classes.long()] + torch.from_numpy(between(objects, border.w0, border.sigma))
    return whole.masked_fill(classes == NOTHING, 0)

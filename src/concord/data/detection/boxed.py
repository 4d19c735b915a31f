"""Images with boxes as a data set: every image on one canvas, decoded once while there is room."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from hashlib import sha256
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from concord.data.dataset import Draw, Spec, Tree
from concord.data.detection.augment import BoxAugment
from concord.data.detection.place import Place, Size
from concord.data.detection.read import Sample, Truth
from concord.data.held import Held
from concord.data.images import decode
from concord.data.normalise import Normalise

NORMALISE = Normalise((0.0,) * 3, (255.0,) * 3)
FILLING = -1  # the label of rows behind the objects of an image


@dataclass(frozen=True, eq=False)
class BoxedImages:
    """Samples are images (3, H, W) uint8; a target is a dictionary of tensors, N the most boxes of the batch.

    boxes (B, N, 4) float32, x1, y1, x2, y2 in pixels of the canvas; labels (B, N) int64, -1 in rows that are
    only filling; crowd and difficult (B, N) bool. N is at least 1.
    """

    samples: tuple[Sample, ...]
    classes: tuple[str, ...]
    canvas: Size  # height, width
    augment: BoxAugment | None = None
    categories: tuple[int, ...] = ()  # numbers of the classes in a COCO file
    largest: float = decode.LARGEST  # megapixels that are decoded
    held: Held[tuple[Tensor]] | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if self.held is None:
            files = [(sample.image, place) for sample, place in zip(self.samples, self._places, strict=True)]
            object.__setattr__(self, "held", Held(partial(_decoded, files, self.largest)))

    @cached_property
    def _places(self) -> list[Place]:
        return [Place.of(sample.size, self.canvas) for sample in self.samples]

    @property
    def spec(self) -> Spec:
        return Spec("images", (3, *self.canvas), torch.uint8, self.classes, NORMALISE)

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over canvas, classes, marks of the files and objects; names of files do not count."""
        digest = sha256(repr((self.canvas, self.classes, len(self))).encode())
        for sample in self.samples:
            digest.update(repr((sample.mark, sample.size, len(sample.truth.labels))).encode())
            for tensor in sample.truth:
                digest.update(tensor.contiguous().numpy().tobytes())
        return digest.hexdigest()

    def __len__(self) -> int:
        return len(self.samples)

    def batch(self, index: Tensor, draw: Draw | None) -> tuple[Tree, Tree]:
        """Shape: (B,) -> x (B, 3, H, W) uint8, boxes (B, N, 4) and the rest (B, N)"""
        with decode.quiet():
            made = [self._sample(i, draw) for i in index.tolist()]
        target: dict[str, Tree] = {**padded([truth for _, truth in made])}
        return torch.stack([pixels for pixels, _ in made]), target

    def _sample(self, i: int, draw: Draw | None) -> tuple[Tensor, Truth]:
        if draw is not None and self.augment is not None:
            return self.augment(i, draw, self._stored, len(self), self.canvas)
        pixels, place, truth = self._stored(i)
        return place.on_canvas(pixels, self.canvas), truth

    def _stored(self, i: int) -> tuple[Tensor, Place, Truth]:
        """The scaled image, its place on the canvas, and its objects there."""
        assert self.held is not None
        truth, place = self.samples[i].truth, self._places[i]
        return self.held[i][0], place, truth._replace(boxes=place.moved(truth.boxes))

    def name(self, i: int) -> str:
        return self.samples[i].name

    def restore(self, boxes: Tensor, i: int) -> Tensor:
        """Boxes in pixels of x -> in pixels of the file of sample ``i``, clipped to it. Shape: (..., 4)"""
        return self._places[i].restored(boxes)

    def some(self, numbers: Tensor) -> "BoxedImages":
        """The samples of these numbers."""
        return replace(self, samples=tuple(self.samples[i] for i in numbers.tolist()), held=None)


def padded(truths: Sequence[Truth]) -> dict[str, Tensor]:
    """The target of a batch; the rows behind the objects of an image are zeros with the label -1."""
    names = ("boxes", "labels", "crowd", "difficult")
    target = {
        name: pad_sequence(list(rows), batch_first=True, padding_value=FILLING if name == "labels" else 0)
        for name, rows in zip(names, zip(*truths, strict=True), strict=True)
    }
    if target["labels"].shape[1]:
        return target
    empty = torch.zeros((len(truths), 1))
    none = empty.bool()
    return {
        "boxes": empty[..., None].repeat(1, 1, 4),
        "labels": empty.long() - 1,
        "crowd": none,
        "difficult": none,
    }


def unmarked(paths: Sequence[Path], classes: tuple[str, ...], canvas: Size) -> BoxedImages:
    """Image files without annotations, for prediction; DataError for one that cannot be opened."""
    none = Truth(
        torch.zeros(0, 4), *(torch.zeros(0, dtype=kind) for kind in (torch.int64, torch.bool, torch.bool))
    )
    samples = []
    with decode.quiet():
        for path in paths:
            header = decode.header(path)
            samples.append(Sample(path, str(path), (header.width, header.height), none))
    return BoxedImages(tuple(samples), classes, canvas)


def _decoded(files: Sequence[tuple[Path, Place]], largest: float, i: int) -> tuple[Tensor]:
    path, place = files[i]
    return (decode.fitted(path, (place.height, place.width), largest),)

"""A look at every mask and at image headers before training, with everything that is wrong with files."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from concord.data import draws
from concord.data.images import decode
from concord.data.images.decode import Mode
from concord.data.images.parts import Bad
from concord.data.segmentation.pairs import Pair, Place
from concord.data.segmentation.samples import unequal
from concord.data.segmentation.table import Table, counted
from concord.errors import DataError

Watch = Callable[[int, int], None]  # samples looked at, of how many
WHOLE = 256 * 2**20  # bytes of pixels up to which every image is decoded for statistics and fingerprint
TYPICAL = 2000  # images whose statistics are used beyond that
ENDS = 512  # bytes of the two ends of a file that stand for it


@dataclass(frozen=True, eq=False)
class Seen:
    """What a pair holds: size (H, W) of both, pixels of each code of the mask, and a digest of the mask."""

    size: tuple[int, int]
    grey: bool
    counts: Mapping[int, int]
    digest: bytes
    colours: bool
    voc: bool


def look(
    pairs: Sequence[Pair], table: Table | None, largest: float, watch: Watch | None = None
) -> tuple[list[Seen | None], list[Bad]]:
    """What each pair holds, None of one that cannot be used, and why; every mask is read."""
    seen: list[Seen | None] = []
    bad: list[Bad] = []
    with decode.quiet():
        for pair in pairs:
            try:
                seen.append(_seen(pair, table, largest))
            except DataError as error:
                seen.append(None)
                bad.append(Bad(pair.name, str(error)))
            if watch is not None:
                watch(len(seen), len(pairs))
    return seen, bad


def _seen(pair: Pair, table: Table | None, largest: float) -> Seen:
    head = decode.header(pair.image.path, largest, pair.image.frame or 0)
    raster = pair.truth.read(largest)
    if raster.codes.shape != (head.height, head.width):
        raise DataError(f"{pair.truth}: {unequal(raster.codes.shape, (head.height, head.width))}")
    codes = raster.codes if table is None else table.codes_of(raster)
    digest = hashlib.blake2b(np.ascontiguousarray(codes).data, digest_size=16).digest()
    here = counted(codes)
    if table is not None:
        if raster.colours and not table.colours:
            raise DataError(f"{pair.truth} holds colours, but the classes have values; give r, g, b of each")
        if complaint := table.complaint(here):
            raise DataError(f"{pair.truth} {complaint}")
    return Seen((head.height, head.width), head.grey, here, digest, raster.colours, raster.voc)


@dataclass(frozen=True, eq=False)
class Pixels:
    """Digests of images, and how often each channel has each value, (C, 256)."""

    digests: Sequence[bytes]
    counts: Tensor
    whole: bool  # whether digests are those of pixels, so that equal ones are equal images


def pixels(
    pairs: Sequence[Pair],
    sizes: Sequence[tuple[int, int]],
    mode: Mode,
    largest: float,
    most: int | None = None,
) -> Pixels:
    """Every image decoded once; of more than ``most`` bytes a fixed sample, and the ends of all files.

    ``most`` is 256 MiB where nothing else is said.
    """
    channels = 1 if mode == "L" else 3
    total = channels * sum(height * width for height, width in sizes)
    whole = total <= (WHOLE if most is None else most)
    some = draws.permutation(len(pairs), "statistics")[:TYPICAL]
    chosen = range(len(pairs)) if whole else sorted(some.tolist())
    counts = torch.zeros(channels, 256, dtype=torch.int64)
    digests = []
    with decode.quiet():
        for i in chosen:
            place = pairs[i].image
            image = decode.image(place.path, mode, None, largest, place.frame or 0)
            counts += torch.stack([torch.bincount(row.flatten(), minlength=256) for row in image])
            digests.append(hashlib.blake2b(image.contiguous().numpy().data, digest_size=16).digest())
    return Pixels(digests if whole else [_ends(pair.image) for pair in pairs], counts, whole)


def _ends(place: Place) -> bytes:
    """A digest of size and ends of a file, and of the number of a frame."""
    with place.path.open("rb") as file:
        head = file.read(ENDS)
        length = file.seek(0, 2)
        file.seek(max(0, length - ENDS))
        content = head + file.read() + f"{length} {place.frame}".encode()
    return hashlib.blake2b(content, digest_size=16).digest()

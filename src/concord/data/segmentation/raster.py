"""What a mask file holds before classes are known: a value or a colour for each pixel."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from concord.data.images import decode
from concord.errors import DataError
from concord.files.text import printable

RED, GREEN = 65536, 256  # colour (r, g, b) as one number: RED * r + GREEN * g + b
GREY = RED + GREEN + 1
IGNORED = 255  # index of pixels that count for nothing in masks with the palette of VOC
VOC = (
    *("background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow"),
    *("diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train"),
    "tvmonitor",
)


@dataclass(frozen=True, eq=False)
class Raster:
    """Codes of pixels (H, W): stored values or palette indices; of ``colours`` RED * r + GREEN * g + b."""

    codes: NDArray[np.int64]
    colours: bool = False
    palette: NDArray[np.int64] | None = None  # (256,) colours of the indices

    @property
    def voc(self) -> bool:
        """Whether the palette is that of PASCAL VOC, in which index 255 counts for nothing."""
        if self.palette is None:
            return False
        chosen = [*range(len(VOC)), IGNORED]
        return bool((self.palette[chosen] == voc_palette()[chosen]).all())

    def as_colours(self) -> NDArray[np.int64]:
        """The colours of all pixels. Shape: (H, W)"""
        if self.colours:
            return self.codes
        if self.palette is not None:
            return self.palette[self.codes]
        return self.codes * GREY


def read(path: Path, frame: int = 0, largest: float = decode.LARGEST) -> Raster:
    """The mask in a file or in one frame of a stack. Call within ``decode.quiet``.

    Raises DataError that names the file: what cannot be decoded, and JPEG, which changes values.
    """
    if path.suffix.lower() in (".jpg", ".jpeg"):
        raise DataError(f"{printable(path)} is a JPEG, whose compression changes values; save masks as PNG")
    opened = decode.as_stored(path, largest, frame)
    if opened.mode == "1":
        return Raster(np.asarray(opened).astype(np.int64) * 255)
    if opened.mode in ("P", "PA"):
        indices = np.asarray(opened if opened.mode == "P" else opened.getchannel("P"))
        return Raster(indices.astype(np.int64), palette=_palette(opened))
    if opened.mode in ("LA", "La"):
        return Raster(np.asarray(opened.getchannel("L")).astype(np.int64))
    if opened.mode[0] in "LIF":
        return Raster(_whole(np.asarray(opened), path))
    red, green, blue = (np.asarray(opened.convert("RGB")).astype(np.int64)[..., i] for i in range(3))
    if (red == green).all() and (green == blue).all():
        return Raster(red)
    return Raster(RED * red + GREEN * green + blue, colours=True)


def voc_palette() -> NDArray[np.int64]:
    """Bits 0, 3 and 6 of the index are the highest bits of red, 1, 4 and 7 of green, 2 and 5 of blue.

    Source: the development kit of the PASCAL Visual Object Classes Challenge. Shape: (256,) colours
    """
    index = np.arange(256)
    colours = np.zeros(256, np.int64)
    for channel, place in enumerate((RED, GREEN, 1)):
        for k in range(3):
            colours += (((index >> (3 * k + channel)) & 1) << (7 - k)) * place
    return colours


def _palette(opened: Image.Image) -> NDArray[np.int64]:
    colours = np.zeros((256, 3), np.int64)
    given = np.array(opened.getpalette("RGB") or [], np.int64).reshape(-1, 3)
    colours[: len(given)] = given
    return colours @ np.array([RED, GREEN, 1])


def _whole(values: NDArray[Any], path: Path) -> NDArray[np.int64]:
    whole = values.astype(np.int64)
    if values.dtype.kind == "f" and not (np.isfinite(values).all() and (whole == values).all()):
        raise DataError(f"{printable(path)} holds fractions; the values of a mask are whole numbers")
    if whole.min(initial=0) < 0 or whole.max(initial=0) >= RED:
        raise DataError(f"{printable(path)} holds values outside of 0 to {RED - 1}")
    return whole

"""One image file -> one uint8 tensor, by Pillow, with everything that can be wrong with a file named.

Only formats that Pillow decodes itself are tried (no Ghostscript). The size is read before the pixels and is
limited, so a small file cannot unfold into gigabytes. Orientation tags are applied, transparent
pixels lie on white, 16-bit values become v / 257 rounded.
"""

import math
import os
import stat
import struct
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor
from torchvision.transforms.v2 import functional as F

from concord.data.images.files import AVIF, HEIC, expand
from concord.data.images.resize import resize_image
from concord.errors import DataError
from concord.files.text import printable

__all__ = [
    "Header",
    "Mode",
    "as_stored",
    "expand",
    "fitted",
    "frames",
    "header",
    "image",
    "open_image",
    "quiet",
]

Mode = Literal["L", "RGB"]
FORMATS = (
    "PNG",
    "JPEG",
    "BMP",
    "GIF",
    "TIFF",
    "WEBP",
    "PPM",
    *(["AVIF"] if AVIF else []),
    *(["HEIF"] if HEIC else []),
)
LARGEST = 50.0  # megapixels that are decoded where nothing else is said
MOST = 178  # megapixels that Pillow opens
GREY = frozenset(("1", "L", "LA", "La", "I", "F"))
ALPHA = frozenset(("LA", "La", "PA", "RGBA", "RGBa"))
ORIENTATION = 0x0112  # EXIF tag; values 5 to 8 exchange width and height
DAMAGED = (OSError, SyntaxError, ValueError, EOFError, IndexError, TypeError, struct.error, zlib.error)


@dataclass(frozen=True)
class Header:
    """What a file says of itself before it is decoded; the size is that of the image as displayed."""

    height: int
    width: int
    grey: bool
    transparent: bool


def open_image(
    path: Path, *, mode: Mode, size: int | tuple[int, int] | None = None, largest: float = LARGEST
) -> Tensor:
    """The image in that mode, scaled to cover ``size`` (side, or height and width) and cropped to its centre.

    An image of more than ``largest`` megapixels is refused before it is decoded.

    Shape: (1 or 3, H, W) uint8. Raises DataError that names the file and what is wrong with it.
    """
    with quiet():
        return image(path, mode, (size, size) if isinstance(size, int) else size, largest)


@contextmanager
def quiet() -> Iterator[None]:
    """Pillow's warnings are dropped: ``header`` and ``image`` bound the pixels themselves. Not per thread."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def header(path: Path, largest: float = LARGEST, frame: int = 0) -> Header:
    """Size and kind of the image, without decoding it. Call within ``quiet``; raises as ``open_image``."""
    with _opened(path, largest, frame) as opened:
        width, height = opened.size
        if _orientation(opened) in (5, 6, 7, 8):
            width, height = height, width
        return Header(height, width, _is_grey(opened), _has_alpha(opened))


def image(
    path: Path, mode: Mode, size: tuple[int, int] | None, largest: float = LARGEST, frame: int = 0
) -> Tensor:
    """``open_image`` for callers that are within ``quiet`` already, in any thread; one frame of a stack."""
    with _opened(path, largest, frame) as opened:
        ImageOps.exif_transpose(opened, in_place=True)
        flat = _flat(opened)
        whole = flat if flat.mode == mode else flat.convert(mode)
        return F.pil_to_tensor(whole if size is None else resize_image(whole, size))


def fitted(path: Path, size: tuple[int, int], largest: float = LARGEST) -> Tensor:
    """The whole image in colour, scaled to ``size`` (height, width) by Pillow, bilinear with antialiasing.

    A JPEG is decoded at 1/2, 1/4 or 1/8 where that is not smaller. Call within ``quiet``; raises as
    ``open_image``. Shape: (3, H, W) uint8
    """
    height, width = size
    with _opened(path, largest) as opened:
        turned = _orientation(opened) in (5, 6, 7, 8)
        opened.draft(None, (height, width) if turned else (width, height))
        ImageOps.exif_transpose(opened, in_place=True)
        whole = _flat(opened).convert("RGB")
        return F.pil_to_tensor(whole.resize((width, height), Image.Resampling.BILINEAR))


def as_stored(path: Path, largest: float = LARGEST, frame: int = 0) -> Image.Image:
    """The image upright, with the values or the palette that it is stored with. Call within ``quiet``."""
    with _opened(path, largest, frame) as opened:
        ImageOps.exif_transpose(opened, in_place=True)
        opened.load()
        return opened.copy()


def frames(path: Path) -> int:
    """Images in a file: more than one in a stack. Call within ``quiet``."""
    with _opened(path, LARGEST) as opened:
        return int(getattr(opened, "n_frames", 1))


@contextmanager
def _opened(path: Path, largest: float, frame: int = 0) -> Iterator[Image.Image]:
    try:
        _check_file(path)
        # A file, not a path: Pillow 13.0.0 maps a path's uncompressed TIFF and then turns it wrongly.
        with path.open("rb") as file, Image.open(file, formats=FORMATS) as opened:
            if frame:
                opened.seek(frame)
            _check_size(path, opened.size, largest)
            yield opened
    except DataError:
        raise
    except Image.DecompressionBombError as error:  # Pillow's own bound, beyond MOST
        raise DataError(f"{printable(path)} has more than {MOST} million pixels; scale it down") from error
    except UnidentifiedImageError as error:
        raise DataError(f"{printable(path)} is not an image; remove or replace it") from error
    except DAMAGED as error:
        reason = getattr(error, "strerror", None) or printable(error)
        raise DataError(f"{printable(path)} cannot be decoded ({reason}); remove or replace it") from error


def _check_file(path: Path) -> None:
    # Opening a pipe would wait for ever, so this comes before any open.
    try:
        status = os.stat(path)  # noqa: PTH116  half the time of Path.stat, for a million files
    except FileNotFoundError:
        raise DataError(f"{printable(path)} does not exist") from None
    if stat.S_ISDIR(status.st_mode):
        raise DataError(f"{printable(path)} is a folder, expected an image file")
    if not stat.S_ISREG(status.st_mode):
        raise DataError(f"{printable(path)} is not a regular file")
    if status.st_size == 0:
        raise DataError(f"{printable(path)} is empty (0 bytes); remove or replace it")


def _check_size(path: Path, size: tuple[int, int], largest: float) -> None:
    megapixels = size[0] * size[1] / 1e6
    if megapixels <= largest:
        return
    setting = f", or train with data.largest_image = {math.ceil(megapixels)} or more"
    raise DataError(
        f"{printable(path)} has {size[0]}x{size[1]} pixels; more than {largest:g} million pixels are not "
        f"decoded: scale it down{setting if megapixels <= MOST else ''}"
    )


def _orientation(opened: Image.Image) -> int:
    # The size of a TIFF is upright already; a whole PNG would be decoded to look for a tag behind the pixels.
    if opened.format == "TIFF" or (opened.format == "PNG" and "exif" not in opened.info):
        return 1
    return int(opened.getexif().get(ORIENTATION, 1))


def _is_grey(opened: Image.Image) -> bool:
    if opened.mode not in ("P", "PA"):
        return opened.mode in GREY or opened.mode.startswith("I;16")
    palette = opened.getpalette("RGB") or []
    return palette[0::3] == palette[1::3] == palette[2::3]


def _has_alpha(opened: Image.Image) -> bool:
    return opened.mode in ALPHA or "transparency" in opened.info


def _flat(opened: Image.Image) -> Image.Image:
    if opened.mode[0] in "IF":
        return _eight_bit(opened)
    if _has_alpha(opened):
        colour = opened.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", colour.size, "white"), colour).convert("RGB")
    return opened


def _eight_bit(opened: Image.Image) -> Image.Image:
    values = np.asarray(opened)
    if values.dtype.kind == "f" or values.min() < 0 or values.max() > 65535:
        raise ValueError(f"{values.dtype} pixels without a fixed range, expected 8 or 16 bits")
    return Image.fromarray(((values.astype(np.int64) + 128) // 257).astype(np.uint8))

"""Images without labels, on which members are only asked to agree (Noel 2017, open question 7)."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from concord.data import draws, memory
from concord.data.images import idx, pictures
from concord.data.images.decode import Mode
from concord.data.images.files import expand, is_image_name
from concord.data.images.images import Images
from concord.data.images.parts import Bad, unusable
from concord.data.images.resize import resize
from concord.errors import DataError, UsageError

MODES: dict[int, Mode] = {1: "L", 3: "RGB"}


def unlabelled(source: str, like: Images, seed: int) -> Tensor:
    """Pixels in the size and channels of ``like``: from 'noise', an IDX images file, or image files.

    'noise' is as many images as ``like`` has, each value uniform over 0..255 and drawn from ``seed``. A
    path is a folder (everything below it), a pattern, or PREFIX-images-idx3-ubyte[.gz].

    Shape: (N, C, H, W) uint8. Raises DataError that names what cannot be used.
    """
    if source == "noise":
        return _noise((len(like), *like.shape), seed)
    channels, height, width = like.shape
    if channels not in MODES:
        raise UsageError(f"unlabelled images have 1 or 3 channels, these members take {channels}")
    path = Path(source)
    if path.is_file() and not is_image_name(path):
        grey = torch.from_numpy(idx.read(path, 3)).unsqueeze(1)
        return resize(grey, (height, width)).expand(-1, channels, -1, -1).contiguous()
    return _pictures(source, MODES[channels], (height, width))


def _noise(shape: tuple[int, ...], seed: int) -> Tensor:
    count = int(np.prod(shape))
    memory.require(2 * count, "the noise", "train on fewer images")
    words = np.random.Philox(key=draws.seed_of("noise", seed)).random_raw(-(-count // 8))
    values = words.astype("<u8", copy=False).view(np.uint8)[:count]
    return torch.from_numpy(values).reshape(shape)


def _pictures(source: str, mode: Mode, size: tuple[int, int]) -> Tensor:
    """All pictures, decoded into memory; those that cannot be are named."""
    paths = expand([source])
    names = [str(path.absolute()) for path in paths]
    found = pictures.headers(Path("/"), names)
    pixels, reasons = pictures.in_memory(found.store(pictures.Layout(mode, size)))
    reasons = found.bad | {int(found.good[row]): reason for row, reason in reasons.items()}
    if reasons:
        bad = tuple(Bad(paths[i].name, reason) for i, reason in sorted(reasons.items()))
        raise DataError(unusable(source, bad))
    return pixels

"""Data files that the tests of the data room make, and the real ones where they are at hand."""

import gzip
import os
import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

SHARED = Path(os.environ.get("CONCORD_DATA") or Path(__file__).parents[2] / "shared" / "data")


def shared(name: str) -> Path:
    """The folder of a real data set, or a skip that says why."""
    if not (SHARED / name).is_dir():
        pytest.skip(f"real data {SHARED / name} are not here; set CONCORD_DATA")
    return SHARED / name


def idx_bytes(array, *, kind: int = 8) -> bytes:
    array = np.asarray(array, np.uint8)
    return struct.pack(f">HBB{array.ndim}I", 0, kind, array.ndim, *array.shape) + array.tobytes()


def write_idx(folder: Path, prefix: str, pixels, labels, *, packed: bool = False) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for kind, array in (("images-idx3", pixels), ("labels-idx1", labels)):
        content, name = idx_bytes(array), f"{prefix}-{kind}-ubyte"
        if packed:
            (folder / f"{name}.gz").write_bytes(gzip.compress(content))
        else:
            (folder / name).write_bytes(content)


def write_image(path: Path, colour=128, *, size=(8, 8), mode: str = "L", **options) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, colour).save(path, **options)
    return path


def noisy(count: int, height: int = 4, width: int = 4, *, seed: int = 0) -> np.ndarray:
    """Random images that are all different. Shape: (N, H, W) uint8"""
    return np.random.default_rng(seed).integers(0, 256, (count, height, width), dtype=np.uint8)

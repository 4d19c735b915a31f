"""Which kind of data a name or a path is. Found by what is there, not by what it is called."""

import zipfile
from dataclasses import replace
from pathlib import Path

from concord.data import memory
from concord.data.images import cifar, digits, folder, idx_parts, npz
from concord.data.images.decode import LARGEST
from concord.data.images.images import Images
from concord.data.images.parts import Parts
from concord.data.images.pictures import Watch
from concord.data.images.resize import resize
from concord.data.images.stores import InMemory
from concord.data.sequences.named import NAMED
from concord.errors import ConcordError, DataError, MissingDataError, suggestion
from concord.files.paths import expanded
from concord.files.text import printable

LOOKED_FOR = """
  digits                                         scikit-learn's handwritten digits, no file needed
  train-images-idx3-ubyte[.gz] and its labels    IDX: MNIST, Fashion-MNIST; test files t10k-...
  PREFIX-images-idx3-ubyte[.gz] and its labels   IDX under another name: give FOLDER/PREFIX
  data_batch_1.bin ... test_batch.bin            CIFAR-10, binary version
  CLASS/*.png, *.jpg ...                         one folder for each class, also below train/ valid/ test/
  FILE.npz                                       x_train, y_train, x_val, x_test ... or images, labels
  FILE.csv, .jsonl, .txt, CLASS/*.txt            sequences and texts, which are for other tasks: --task"""


def read(
    source: str, *, size: int | None = None, watch: Watch | None = None, largest: float = LARGEST
) -> Parts:
    """Everything at ``source``; all images are scaled to ``size`` x ``size`` if that is given.

    Images in folders are found, but not decoded; ``largest`` is the most megapixels of one. ``watch`` is
    called with how many of how many files are looked at (of 0 while they are being found), and may end that
    by an error.
    Raises DataError that names the path and what was looked for. Faults inside are collected in Parts.
    """
    if source == "digits":
        return resized(digits.parts(), size)
    path = expanded(source)
    try:
        parts = _at(path, size, watch, largest)
    except ConcordError:
        raise
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        reason = getattr(error, "strerror", None) or error
        raise DataError(f"{printable(path)} cannot be read: {reason}") from error
    return resized(parts, size)


def _at(path: Path, size: int | None, watch: Watch | None, largest: float) -> Parts:
    if path.is_dir():
        return _in_folder(path, size, watch, largest)
    pair = idx_parts.prefixed(path)
    if pair is not None:
        return idx_parts.read_prefixed(pair)
    if path.is_file() and zipfile.is_zipfile(path):
        return npz.parts(path)
    if path.exists():
        raise DataError(f"{printable(path)} is not data that concord reads; it looks for{LOOKED_FOR}")
    if str(path) in NAMED:
        raise MissingDataError(f"{path} is a made set of sequences: use --task {NAMED[str(path)].task}")
    near = [str(p) for p in path.parent.iterdir()] if path.parent.is_dir() else []
    raise MissingDataError(
        f"no file or folder {printable(path)}{printable(suggestion(str(path), [*near, 'digits']))}"
    )


def _in_folder(path: Path, size: int | None, watch: Watch | None, largest: float) -> Parts:
    if idx_parts.official(path):
        return idx_parts.read_official(path)
    for place in (path, path / cifar.FOLDER):
        if cifar.batches(place):
            return cifar.parts(place)
    for place in (path, path / cifar.PYTHON_FOLDER):
        cifar.refuse_pickles(place)
    if folder.class_folders(path):
        return folder.parts(path, size, watch, largest)
    prefixes = idx_parts.prefixes(path)
    if prefixes:
        ways = ", ".join(printable(path / prefix) for prefix in prefixes)
        raise DataError(f"{printable(path)} holds IDX files under other names; give one of: {ways}")
    if (advice := folder.loose_images(path)) is not None:
        raise DataError(advice)
    raise DataError(f"found no data in {printable(path)}; concord looks for{LOOKED_FOR}")


def resized(parts: Parts, size: int | None) -> Parts:
    """The parts with every image scaled to ``size`` x ``size``, and a notice if that changed anything."""
    if size is None or parts.train is None or _all_of(parts, size):
        return parts
    return replace(
        parts,
        train=_fitted(parts.train, size),
        valid=_fitted(parts.valid, size),
        test=_fitted(parts.test, size),
        notices=(*parts.notices, f"images resized to {size}x{size}"),
    )


def _all_of(parts: Parts, size: int) -> bool:
    return all(images.shape[1:] == (size, size) for _, images in parts.present())


def _fitted(images: Images | None, size: int) -> Images | None:
    if images is None:
        return None
    need = len(images) * images.shape[0] * size * size
    memory.require(need, f"{len(images):,} images of {size}x{size}", "choose a smaller --set data.size=N")
    return replace(images, store=InMemory(resize(images.pixels, (size, size))), rows=None)

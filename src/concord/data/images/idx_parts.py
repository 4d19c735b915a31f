"""Which IDX files belong together: the official names of MNIST, and pairs under any other prefix."""

import re
from pathlib import Path

from concord.data.images.idx import read_pair
from concord.data.images.images import Images
from concord.data.images.parts import Parts, attempt, stored_sizes
from concord.errors import DataError
from concord.files.text import printable

Pair = tuple[Path, Path]  # images, labels
TEST = ("t10k", "test")
NAMED = re.compile(r"(?P<prefix>.+)-images[-.]idx3-ubyte(\.gz)?")


def found(folder: Path, prefix: str, kind: str) -> Path | None:
    """The file of that prefix and kind ('images' or 'labels') that is read, if there is one."""
    dimensions = 3 if kind == "images" else 1
    stems = [f"{prefix}-{kind}{mark}idx{dimensions}-ubyte" for mark in "-."]
    paths = [folder / (stem + suffix) for stem in stems for suffix in ("", ".gz")]
    return next((path for path in paths if path.is_file()), None)


def _pair(folder: Path, prefix: str) -> Pair:
    images, labels = (found(folder, prefix, kind) for kind in ("images", "labels"))
    if images is None or labels is None:
        missing = "images-idx3" if images is None else "labels-idx1"
        raise DataError(f"{printable(folder)} has no {printable(prefix)}-{missing}-ubyte[.gz]")
    return images, labels


def official(folder: Path) -> bool:
    """Whether a file of the official training part lies there."""
    return any(found(folder, "train", kind) for kind in ("images", "labels"))


def prefixes(folder: Path) -> list[str]:
    """Every PREFIX of which the folder holds PREFIX-images-idx3-ubyte[.gz]."""
    matches = (NAMED.fullmatch(path.name) for path in folder.iterdir())
    return sorted({match["prefix"] for match in matches if match})


def prefixed(path: Path) -> Pair | None:
    """The two files that FOLDER/PREFIX, or the path of the images file itself, stands for."""
    match = NAMED.fullmatch(path.name)
    prefix = match["prefix"] if match and path.is_file() else path.name
    if path.exists() and not match:
        return None
    return _pair(path.parent, prefix) if found(path.parent, prefix, "images") else None


def read_prefixed(pair: Pair) -> Parts:
    """One pair of files, no test part of its own."""
    images = read_pair(*pair)
    return Parts("IDX", images, sizes=stored_sizes(images))


def read_official(folder: Path) -> Parts:
    """train-*, and t10k-* or test-* if there; the classes are those of the training part."""
    problems: list[str] = []
    train = attempt(problems, lambda: read_pair(*_pair(folder, "train")))
    prefix = next((p for p in TEST if found(folder, p, "images") or found(folder, p, "labels")), None)
    test: Images | None = None
    if prefix is not None:
        classes = train.classes if train is not None else None
        test = attempt(problems, lambda: read_pair(*_pair(folder, prefix), classes))
    if train is not None and test is not None and train.shape != test.shape:
        sizes = " and ".join(f"{p.shape[2]}x{p.shape[1]}" for p in (train, test))
        problems.append(f"{printable(folder)}: training and test images differ in size ({sizes})")
    return Parts("IDX", train, test=test, problems=tuple(problems), sizes=stored_sizes(train, test))

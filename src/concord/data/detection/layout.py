"""Which kind of annotations lies at a path."""

from pathlib import Path

from concord.data.detection import coco, voc, yolo
from concord.data.detection.annotated import Found
from concord.data.detection.folders import there
from concord.errors import DataError, MissingDataError
from concord.files.paths import expanded
from concord.files.text import printable

FORMATS = (voc.find, coco.find, yolo.find)
DEEPEST = 2  # folders that hold nothing but one folder, as archives unpack
EXPECTED = (
    "VOC (Annotations/*.xml with JPEGImages/, or .xml beside images), YOLO (images/ with labels/*.txt,"
    " data.yaml) or COCO (annotations/*.json with a folder of images, or one .json file)"
)


def found(source: str | Path) -> Found:
    """The parts of the annotated images at a path.

    DataError for what is damaged, MissingDataError where nothing is, and for other layouts what is expected.
    """
    path = expanded(source)
    if not there(path):
        raise MissingDataError(f"{printable(path)} does not exist; expected {EXPECTED}")
    listing = _at(path, DEEPEST)
    if listing is None:
        raise DataError(
            f"{printable(path)} holds no annotations of boxes that are recognised{coco.near_miss(path)};"
            f" expected {EXPECTED}"
        )
    return listing


def recognised(source: str | Path) -> bool:
    """Whether annotations of boxes lie there, also damaged ones; never for folders of classes."""
    path = expanded(source)
    try:
        return there(path) and _at(path, DEEPEST) is not None
    except DataError:
        return True
    except OSError:  # a folder that cannot be read
        return False


def _at(path: Path, depth: int) -> Found | None:
    listing = next((listing for find in FORMATS if (listing := find(path))), None)
    if listing is None and depth and path.is_dir():
        inside = [
            child for child in path.iterdir() if child.is_dir() and not child.name.startswith((".", "__"))
        ]
        if len(inside) == 1:
            return _at(inside[0], depth - 1)
    return listing

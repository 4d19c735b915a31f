"""Annotations of YOLO: a text file for each image, a line "class x y width height" for each object.

The centre and the sides are fractions of the width and height of the image. Source: the format of darknet
(J. Redmon, pjreddie/darknet, ``fill_truth_detection`` in data.c), with the folders and the data.yaml that
later programs added. An image without a file, or with an empty one, is an image without objects.
"""

import math
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path

from concord.data.detection.annotated import PARTS, Found, Item, Marked, number, shown
from concord.data.detection.folders import NAMES, images_in, names_of_classes, part_folders, text_lines, there
from concord.data.detection.yolo_table import Table, table
from concord.data.images.files import below, is_image_name
from concord.errors import DataError, amount
from concord.files.text import counted, printable

SLACK = 1.01  # fractions up to here are 1 with a rounding error; more are pixels
LISTS = (*PARTS, "trainval")
TABLES = ("data.yaml", "data.yml", "dataset.yaml")


def find(root: Path) -> Found | None:
    """images/ with labels/, train/images with train/labels, lists of images, or files beside images.

    ``root`` is the folder or its data.yaml; None for what is none of these.
    """
    if root.is_file():
        if root.suffix.lower() not in (".yaml", ".yml"):
            return None
        said, root = table(root), root.parent
    else:
        given = next((root / name for name in TABLES if (root / name).is_file()), None)
        said = table(given) if given else Table({}, None)
    images = _of_table(root, said) if set(said.places) - {"path"} else _of_folders(root)
    if not any(_label_file(path).is_file() for part in images.values() for path in part):
        return None
    return _found(images, said.classes or names_of_classes(root))


def _found(images: dict[str, list[Path]], classes: tuple[str, ...] | None) -> Found:
    files = {path: _label_file(path) for part in images.values() for path in part}
    bare = [path for path, file in files.items() if not file.is_file()]
    notices = []
    if bare:
        such = f"{amount(len(bare), 'image')} without a label file, such as {printable(bare[0].name)}"
        notices.append(f"{such}, taken as images without objects")
    if classes is None:
        notices.append(
            "names of classes are missing (data.yaml or classes.txt), so that classes are called by number"
        )
    parts = {
        part: [Item(path, partial(objects, files[path], classes)) for path in paths]
        for part, paths in images.items()
    }
    return Found("YOLO", parts, classes, tuple(_orphans(files.values())), tuple(notices))


def _orphans(files: Iterable[Path]) -> Iterator[str]:
    """Label files whose image is missing."""
    for folder in sorted({file.parent for file in files if file.parent.is_dir()}):
        images = images_in(_turned(folder, "labels", "images"))
        for path in sorted(folder.glob("*.txt")):
            if path.stem not in images and path.name not in NAMES and path.stem not in LISTS:
                such = f"expected an image of the name {printable(path.stem)}"
                yield f"{printable(path)}: its image is missing; {such}"


def _label_file(image: Path) -> Path:
    """Below labels/ in place of images/, else beside the image."""
    return _turned(image, "images", "labels").with_suffix(".txt")


def _turned(path: Path, one: str, other: str) -> Path:
    """The path with its last folder of that name replaced, if there is such a path."""
    parts = list(path.parts)
    for place in range(len(parts) - 1, -1, -1):
        if parts[place] == one:
            turned = Path(*parts[:place], other, *parts[place + 1 :])
            return turned if (turned if one == "labels" else turned.parent).is_dir() else path
    return path


def _of_folders(root: Path) -> dict[str, list[Path]]:
    """Part -> images, by the folders or lists that there are."""
    whole = root / "images"
    if whole.is_dir():
        lists = _lists(root)
        return (
            lists
            or {part: _below(path) for part, path in part_folders(whole).items()}
            or {"train": _below(whole)}
        )
    if parts := {part: _below(path) for part, path in part_folders(root).items()}:
        return parts
    return _lists(root) or {"train": list(images_in(root).values())}


def _lists(root: Path) -> dict[str, list[Path]]:
    """Part -> the images of a list such as train.txt."""
    found = {}
    for path in sorted(root.glob("*.txt")):
        lines = list(text_lines(path)) if path.stem in PARTS else []
        if lines and is_image_name(lines[0][1]):
            found[PARTS[path.stem]] = _listed(path)
    return found


def _listed(path: Path) -> list[Path]:
    images = []
    for line, text in text_lines(path):
        image = path.parent / text
        if not there(image):
            raise DataError(f"{printable(path)}, line {line}: {printable(text)} does not exist")
        images.append(image)
    return images


def _below(folder: Path) -> list[Path]:
    return [path for path in below(folder) if is_image_name(path.name)]


def _of_table(root: Path, said: Table) -> dict[str, list[Path]]:
    """Part -> images, by data.yaml. Its places are below its ``path`` or beside the file."""
    bases = [root / base for base in said.places.get("path", ())] + [root]
    parts: dict[str, list[Path]] = {}
    for key, places in said.places.items():
        if key == "path":
            continue
        for text in places:
            # what programs write as ../train/images often lies beside the file
            tries = [base / name for base in bases for name in (text, text.removeprefix("../"))]
            place = next((path for path in tries if there(path)), None)
            if place is None:
                raise DataError(
                    f"{printable(text)}, {key} of data.yaml, is not in {printable(root)}; correct the path"
                )
            parts.setdefault(PARTS[key], []).extend(_listed(place) if place.is_file() else _below(place))
    return parts


def objects(path: Path, classes: tuple[str, ...] | None, width: int, height: int) -> list[Marked]:
    """The objects of one file; DataError with file and line for a line of another form."""
    if not path.is_file():
        return []
    return [_object(path, line, text, classes, width, height) for line, text in text_lines(path)]


def _object(
    path: Path, line: int, text: str, classes: tuple[str, ...] | None, width: int, height: int
) -> Marked:
    where = f"{printable(path)}, line {line}"
    words = text.split()
    if len(words) != 5:
        polygon = ", as polygons have them: boxes are expected" if len(words) > 6 else ""
        raise DataError(
            f"{where}: expected 5 numbers (class, x, y, width, height), got {len(words)}{polygon}"
        )
    x, y, w, h = values = [number(word, "a coordinate", where) for word in words[1:]]
    if not all(map(math.isfinite, values)) or min(values) < 0:
        raise DataError(f"{where}: coordinates must be finite and 0 or more, got {shown(values)}")
    if max(values) > SLACK:
        raise DataError(
            f"{where}: coordinates {shown(values)} seem to be pixels, expected fractions of width and height"
            " from 0 to 1; divide by the size of the image"
        )
    corners = ((x - w / 2) * width, (y - h / 2) * height, (x + w / 2) * width, (y + h / 2) * height)
    return Marked(_class(words[0], classes, where), corners, where)


def _class(word: str, classes: tuple[str, ...] | None, where: str) -> str:
    if not (word.isascii() and word.isdigit() and len(word) < 7):
        raise DataError(f"{where}: the class must be a whole number, got {printable(word)!r}")
    k = int(word)
    if classes is None:
        return str(k)
    if k >= len(classes):
        named = counted(len(classes), "class", "classes")
        raise DataError(f"{where}: class {k} is unknown; the table names {named}, 0 to {len(classes) - 1}")
    return classes[k]

"""Annotations of COCO: one JSON file for each part, with images, categories and annotations.

Source: T.-Y. Lin et al., "Microsoft COCO: Common Objects in Context", ECCV 2014, and its data format
(cocodataset.org, "object detection"): ``bbox`` is x, y, width, height in pixels from the upper left corner.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from concord.data import coco_file
from concord.data.coco_file import LARGEST, Entry, text, whole
from concord.data.detection.annotated import PARTS, Corners, Found, Item, Marked, refuse_normalised, shown
from concord.data.detection.folders import part_folders, there
from concord.errors import DataError, amount
from concord.files import bounded
from concord.files.text import printable

KEYS = tuple(f'"{name}"'.encode() for name in coco_file.LISTS)


def find(root: Path) -> Found | None:
    """annotations/instances_*.json with folders of images, a .json in each part, or one .json file."""
    if root.is_file():
        return _found(root.parent, {"train": root}) if root.suffix.lower() == ".json" else None
    files = _files(root)
    return _found(root, files) if files else None


def _files(root: Path) -> dict[str, Path]:
    """Part -> its JSON file."""
    folder = root / "annotations"
    if folder.is_dir():
        names = sorted(folder.glob("instances_*.json")) or sorted(folder.glob("*.json"))
        if names := [path for path in names if _is_coco(path)]:
            return _by_name(names)
    inside = {part: sorted(path.glob("*.json")) for part, path in part_folders(root).items()}
    files = {part: paths[0] for part, paths in inside.items() if paths and _is_coco(paths[0])}
    return files or _by_name([path for path in sorted(root.glob("*.json")) if _is_coco(path)])


def _by_name(paths: Sequence[Path]) -> dict[str, Path]:
    """``instances_val2017.json`` is of the part valid; a single file of no part is all there is.

    DataError for two files of one part, and for two that are of no part where none is.
    """
    found: dict[str, list[Path]] = {}
    for path in paths:
        words = [word.rstrip("0123456789") for word in path.stem.lower().replace("-", "_").split("_")]
        found.setdefault(next((PARTS[word] for word in words if word in PARTS), ""), []).append(path)
    rest = found.pop("", [])
    parts = found or ({"train": rest} if rest else {})
    for files in parts.values():
        if len(files) > 1:
            both = " and ".join(printable(path) for path in files[:2])
            raise DataError(f"{both} are annotations of one part: give one of the files, or keep one of them")
    return {part: files[0] for part, files in parts.items()}


def near_miss(root: Path) -> str:
    """What keeps a .json file of a folder from being one of COCO; nothing without such a file."""
    for path in (*sorted(root.glob("*.json")), *sorted((root / "annotations").glob("*.json"))):
        try:
            content = coco_file.document(path)
        except DataError as error:
            return f" ({error})"
        lacking = [key for key in coco_file.LISTS if key not in content]
        if 0 < len(lacking) < len(coco_file.LISTS):
            return f" ({printable(path)} lacks the list {' and '.join(lacking)})"
    return ""


def _is_coco(path: Path) -> bool:
    try:
        content = bounded.read(path, LARGEST)
    except (OSError, ValueError):
        return False
    return all(key in content for key in KEYS)


def _found(root: Path, files: Mapping[str, Path]) -> Found:
    parts: dict[str, list[Item]] = {}
    faults: list[str] = []
    first: dict[int, str] = {}
    for part, path in files.items():
        content = coco_file.document(path)
        categories = coco_file.categories(path, content)
        first = first or categories
        images = _images(path, content, root, part)
        marked, wrong = _annotations(path, content, images, categories)
        missing = [image for image, _ in images.values() if not there(image)]
        if missing:
            such = f"such as {printable(missing[0])}"
            faults.append(f"{printable(path)}: {amount(len(missing), 'image')} missing, {such}")
        faults += wrong
        parts[part] = [
            Item(image, partial(_objects, size, marked.get(number, ())), number)
            for number, (image, size) in images.items()
            if there(image)
        ]
    return Found("COCO", parts, tuple(first.values()), tuple(faults), categories=tuple(first))


def _images(
    path: Path, content: Entry, root: Path, part: str
) -> dict[int, tuple[Path, tuple[str, int, int]]]:
    """Number of an image -> its file, and where its entry stands with the size that it gives."""
    entries = coco_file.images(path, content)
    names = {number: text(entry, "file_name", where) for number, (where, entry) in entries.items()}
    folder = _folder(path, root, part, list(names.values()))
    return {
        number: (folder / names[number], (where, whole(entry, "width", where), whole(entry, "height", where)))
        for number, (where, entry) in entries.items()
    }


def _folder(path: Path, root: Path, part: str, names: Sequence[str]) -> Path:
    """The folder in which the first image lies."""
    whole = root / "images"
    homes = [home for home in (root, whole) if home.is_dir()]
    folders = [path for home in homes for path in sorted(home.iterdir()) if path.is_dir()]
    # train2017 before others: the same name may stand in each
    folders.sort(key=lambda folder: PARTS.get(folder.name.lower().rstrip("0123456789")) != part)
    inside = (place for place in (path.parent, *folders, *homes) if names and there(place / names[0]))
    return next(inside, homes[-1])


def _annotations(
    path: Path,
    content: Entry,
    images: Mapping[int, tuple[Path, object]],
    categories: Mapping[int, str],
) -> tuple[dict[int, list[Marked]], list[str]]:
    """Number of an image -> its objects, and the faults of single annotations."""
    found: dict[int, list[Marked]] = {}
    faults = []
    for where, entry in coco_file.entries(path, content, "annotations"):
        try:
            image = whole(entry, "image_id", where)
            if image not in images:
                raise DataError(f"{where}: image_id {image} is not among the images of the file")
            found.setdefault(image, []).append(_marked(entry, categories, where))
        except DataError as error:
            faults.append(str(error))
    return found, faults


def _marked(entry: Entry, categories: Mapping[int, str], where: str) -> Marked:
    category = whole(entry, "category_id", where)
    if category not in categories:
        raise DataError(f"{where}: category_id {category} is not among the categories of the file")
    return Marked(
        categories[category], _corners(entry.get("bbox"), where), where, crowd=entry.get("iscrowd") == 1
    )


def _corners(box: object, where: str) -> Corners:
    if not isinstance(box, list) or len(box) != 4 or not all(type(v) in (int, float) for v in box):
        raise DataError(f"{where}: bbox must be 4 numbers (x, y, width, height), got {printable(box)}")
    try:
        x, y, w, h = map(float, box)
    except OverflowError:
        raise DataError(f"{where}: bbox holds a number that is too large") from None
    if w < 0 or h < 0:
        raise DataError(
            f"{where}: the width and height of bbox {shown((x, y, w, h))} must be 0 or more; expected x, y,"
            " width, height"
        )
    refuse_normalised((x, y, w, h), where)
    return x, y, x + w, y + h


def _objects(said: tuple[str, int, int], marked: Sequence[Marked], width: int, height: int) -> list[Marked]:
    where, *size = said
    if size != [width, height]:
        raise DataError(
            f"{where}: the entry is for an image of {size[0]}x{size[1]} pixels, the image has"
            f" {width}x{height}"
        )
    return list(marked)

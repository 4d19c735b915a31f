"""Annotations of PASCAL VOC: an XML file for each image.

Source: M. Everingham, J. Winn, "The PASCAL Visual Object Classes Challenge 2012 Development Kit", sections
2 (folders) and 8.1 (annotation files). Corners are taken as they are: see ``annotated``.
"""

from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

from concord.data.detection.annotated import PARTS, Corners, Found, Item, Marked, number, refuse_normalised
from concord.data.detection.folders import images_in, names_of_classes, part_folders, text_lines
from concord.data.detection.markup import Element, parsed
from concord.errors import DataError, amount
from concord.files.text import printable

ANNOTATIONS, IMAGES = ("Annotations", "annotations", "xmls"), ("JPEGImages", "images", "Images", "")
SIDES = ("xmin", "ymin", "xmax", "ymax")


def find(root: Path) -> Found | None:
    """Annotations/ with JPEGImages/ and ImageSets/Main/, or XML beside images; None for other folders."""
    if not root.is_dir():
        return None
    for name in ANNOTATIONS:
        if (root / name).is_dir() and any((root / name).glob("*.xml")):
            return _devkit(root, root / name)
    folders = {part: folder for part, folder in part_folders(root).items() if any(folder.glob("*.xml"))}
    if not folders and any(root.glob("*.xml")):
        folders = {"train": root}
    return _beside(root, folders) if folders else None


def _devkit(root: Path, annotations: Path) -> Found:
    places = [root / name for name in IMAGES if (root / name).is_dir()]
    images = next((found for place in places if (found := images_in(place))), {})
    files = {path.stem: path for path in sorted(annotations.glob("*.xml"))}
    lists = _lists(root / "ImageSets" / "Main", files) or {"train": list(files)}
    parts, faults = {}, _orphans(files, images)
    for part, stems in lists.items():
        missing = [stem for stem in stems if stem not in files]
        faults += [
            f"{printable(annotations / f'{stem}.xml')} does not exist, but {part} lists it"
            for stem in missing
        ]
        parts[part] = [
            Item(images[stem], partial(objects, files[stem]))
            for stem in stems
            if stem in files and stem in images
        ]
    unlisted = len(set(files).difference(*lists.values()))
    notices = [f"{amount(unlisted, 'annotation')} of {printable(root)} in no list of ImageSets/Main"] * (
        unlisted > 0
    )
    return Found("VOC", parts, names_of_classes(root), tuple(faults), tuple(notices))


def _lists(folder: Path, files: Mapping[str, Path]) -> dict[str, list[str]]:
    """Part -> names of its images. trainval counts where train is missing."""
    lists = {}
    for path in sorted(folder.glob("*.txt")):
        if path.stem in PARTS:
            lists[PARTS[path.stem]] = [_stem(line, files) for _, line in text_lines(path)]
    both = folder / "trainval.txt"
    if "train" not in lists and both.is_file():
        lists["train"] = [_stem(line, files) for _, line in text_lines(both)]
    return lists


def _stem(line: str, files: Mapping[str, Path]) -> str:
    # a list of one class has 1 or -1 behind each name
    return line if line in files else line.split()[0]


def _orphans(files: Mapping[str, Path], images: Mapping[str, Path]) -> list[str]:
    return [
        f"{printable(path)}: its image is missing; expected an image of the name {printable(stem)}"
        for stem, path in files.items()
        if stem not in images
    ]


def _beside(root: Path, folders: Mapping[str, Path]) -> Found:
    parts: dict[str, list[Item]] = {}
    faults: list[str] = []
    bare = 0
    for part, folder in folders.items():
        images = images_in(folder)
        files = {path.stem: path for path in sorted(folder.glob("*.xml"))}
        faults += _orphans(files, images)
        bare += len(set(images) - set(files))
        parts[part] = [Item(images[s], partial(objects, path)) for s, path in files.items() if s in images]
    notices = [f"{amount(bare, 'image')} without an XML file left out"] * (bare > 0)
    return Found("VOC", parts, names_of_classes(root), tuple(faults), tuple(notices))


def objects(path: Path, width: int, height: int) -> list[Marked]:
    """The objects of one file; DataError with file and line for what is missing or damaged."""
    root = parsed(path)
    if root.tag != "annotation":
        raise DataError(
            f"{printable(path)}, line {root.line}: expected <annotation>, got <{printable(root.tag)}>"
        )
    _require_size(path, root, width, height)
    return list(_objects(path, root))


def _require_size(path: Path, root: Element, width: int, height: int) -> None:
    """DataError where the file speaks of an image of another size; 0x0 stands for an unknown one."""
    size = root.first("size")
    if size is None:
        return
    where = f"{printable(path)}, line {size.line}"
    said = [number(size.value(side), f"<{side}>", where) for side in ("width", "height")]
    if any(said) and said != [width, height]:
        raise DataError(
            f"{where}: the annotation is for an image of {said[0]:g}x{said[1]:g} pixels, the image has"
            f" {width}x{height}; annotate the image as it is, or remove <size>"
        )


def _objects(path: Path, root: Element) -> Iterator[Marked]:
    for element in root.all("object"):
        where = f"{printable(path)}, line {element.line}"
        name, box = element.value("name"), element.first("bndbox")
        if not name:
            raise DataError(f"{where}: <name> of the object is missing or empty")
        if box is None:
            raise DataError(f"{where}: <bndbox> of the object is missing")
        where = f"{printable(path)}, line {box.line}"
        corners = _corners(box, where)
        yield Marked(name, corners, where, difficult=element.value("difficult") == "1")


def _corners(box: Element, where: str) -> Corners:
    x1, y1, x2, y2 = (number(box.value(side), f"<{side}>", where) for side in SIDES)
    refuse_normalised((x1, y1, x2, y2), where)
    return x1, y1, x2, y2

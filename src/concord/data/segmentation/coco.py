"""COCO's JSON: outlines and run-length encoded regions of objects, drawn into one mask for each image.

Source: T.-Y. Lin et al., "Microsoft COCO: Common Objects in Context", ECCV 2014, and its data format. Class 0
is the background; the other classes are the categories by their id. Where objects overlap, the smaller one is
in front.
"""

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from concord.data.images.folder import SPLITS, class_folders
from concord.data.segmentation import polygons, rle
from concord.data.segmentation.pairs import Found, Pair, Place
from concord.data.segmentation.raster import RED, Raster
from concord.errors import DataError
from concord.files import bounded
from concord.files.text import printable

LARGEST = 2**30  # bytes
BACKGROUND = "background"
FARTHEST = 10  # image sides from the image at which a corner may lie


@dataclass(frozen=True, eq=False)
class Region:
    """An object: polygons (2n,), or runs."""

    where: str
    number: int  # of its class
    polygons: tuple[NDArray[np.float64], ...] = ()
    runs: NDArray[np.int64] | None = None

    def mask(self, size: tuple[int, int]) -> NDArray[np.bool_]:
        if self.runs is not None:
            return rle.decode(self.runs.tolist(), size)
        return polygons.filled(self.polygons, size)


@dataclass(frozen=True, eq=False)
class Regions:
    """The objects of an image of that size (H, W)."""

    where: str
    size: tuple[int, int]
    regions: Sequence[Region]

    def __str__(self) -> str:
        return self.where

    def read(self, largest: float) -> Raster:
        """Objects by falling area, so that smaller ones are in front; DataError that names the annotation."""
        if self.size[0] * self.size[1] > largest * 1e6:
            raise DataError(
                f"{self.where} is {self.size[1]}x{self.size[0]}: more than {largest:g} megapixels"
            )
        drawn = []
        for region in self.regions:
            try:
                drawn.append((region.mask(self.size), region.number))
            except ValueError as error:
                raise DataError(f"{region.where}: {error}") from None
        codes = np.zeros(self.size, np.int64)
        for mask, number in sorted(drawn, key=lambda pair: -int(pair[0].sum())):
            codes[mask] = number
        return Raster(codes)


def in_file(path: Path) -> tuple[list[Pair], tuple[str, ...]]:
    """The images of a file and the classes; DataError that names file and entry."""
    where = printable(path)
    try:
        document = json.loads(bounded.read(path, LARGEST))
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{where} cannot be read as JSON: {printable(error)}") from error
    images, annotations, categories = (
        _entries(document, key, where) for key in ("images", "annotations", "categories")
    )
    classes, numbers = _classes(categories, where)
    sizes = {_field(image, "id", int, f"{where}, images"): _size(image, where) for image in images}
    regions: dict[int, list[Region]] = defaultdict(list)
    for annotation in annotations:
        name = f"{where}, annotation {annotation.get('id', '?')}"
        image = _field(annotation, "image_id", int, name)
        category = _field(annotation, "category_id", int, name)
        if image not in sizes or category not in numbers:
            what = f"image {image}" if image not in sizes else f"category {category}"
            raise DataError(f"{name} belongs to {what}, which the file does not list")
        regions[image].append(_region(annotation, name, numbers[category], sizes[image]))
    pairs = []
    for image in images:
        file = _field(image, "file_name", str, f"{where}, image {image['id']}")
        truth = Regions(f"{where}, image {image['id']}", sizes[image["id"]], regions[image["id"]])
        pairs.append(Pair(Path(file).with_suffix("").as_posix(), Place(_place(path, file)), truth))
    return pairs, classes


def in_folder(root: Path) -> Found | None:
    """Images and one .json file beside them, or such a folder for each part; None if it is none of these."""
    parts = {SPLITS[f.name.lower()]: f for f in class_folders(root) if f.name.lower() in SPLITS}
    files = {part: _only_json(folder) for part, folder in parts.items()}
    if _only_json(root):
        files = {"": _only_json(root)}
    read = {part: in_file(path) for part, path in files.items() if path is not None}
    if not read:
        return None
    classes = next(iter(read.values()))[1]
    for part, (_, others) in read.items():
        if others != classes:
            raise DataError(f"{printable(root)}: the {part} part has other categories than the first part")
    return Found({part: pairs for part, (pairs, _) in read.items()}, classes=classes)


def _only_json(folder: Path) -> Path | None:
    found = sorted(folder.glob("*.json"))
    return found[0] if len(found) == 1 else None


def _entries(document: Any, key: str, where: str) -> list[Any]:
    entries = document.get(key) if isinstance(document, dict) else None
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise DataError(f"{where} has no list {key!r} of objects, as COCO's format has")
    return entries


def _field(entry: Mapping[str, Any], key: str, kind: type, where: str) -> Any:
    value = entry.get(key)
    if not isinstance(value, kind) or isinstance(value, bool):
        raise DataError(
            f"{where}: {key} must be {'a whole number' if kind is int else 'a text'}, got {value!r}"
        )
    return value


def _size(image: Mapping[str, Any], where: str) -> tuple[int, int]:
    field = partial(_field, image, kind=int, where=f"{where}, image {image['id']}")
    height, width = field("height"), field("width")
    if not (0 < height < RED and 0 < width < RED):
        raise DataError(f"{where}, image {image['id']}: height and width are {height} and {width}")
    return height, width


def _classes(categories: Sequence[Any], where: str) -> tuple[tuple[str, ...], dict[int, int]]:
    """Names, and category id -> number of the class; a category named background is class 0."""
    named = sorted(
        (_field(c, "id", int, f"{where}, categories"), _field(c, "name", str, f"{where}, categories"))
        for c in categories
    )
    names = [BACKGROUND, *(name for _, name in named if name != BACKGROUND)]
    if len({i for i, _ in named}) < len(named) or len(set(names)) < len(names):
        raise DataError(f"{where}: two categories have the same id or name")
    if len(names) < 2:
        raise DataError(f"{where} lists no categories")
    return tuple(names), {i: names.index(name) for i, name in named}


def _region(annotation: Mapping[str, Any], where: str, number: int, size: tuple[int, int]) -> Region:
    given = annotation.get("segmentation")
    if isinstance(given, dict):
        if list(given.get("size", ())) != list(size):
            raise DataError(f"{where}: its region is of size {given.get('size')}, its image of {list(size)}")
        return Region(where, number, runs=_runs(given.get("counts"), where))
    if not isinstance(given, list) or not given:
        raise DataError(f"{where} has no segmentation; annotations with boxes alone are for --task detect")
    return Region(where, number, tuple(_polygon(corners, where, size) for corners in given))


def _runs(counts: Any, where: str) -> NDArray[np.int64]:
    try:
        runs = rle.from_text(counts) if isinstance(counts, str) else counts
        if not isinstance(runs, list) or not all(type(run) is int for run in runs):
            raise ValueError("the counts of its region are a list of whole numbers, or a text")
        return np.array(runs, np.int64)
    except (ValueError, OverflowError) as error:
        raise DataError(f"{where}: {printable(error)}") from error


def _polygon(corners: Any, where: str, size: tuple[int, int]) -> NDArray[np.float64]:
    try:
        polygon = np.array(corners, np.float64)
    except (TypeError, ValueError) as error:
        raise DataError(f"{where}: a polygon is a list of numbers x, y, x, y, ...") from error
    if polygon.ndim != 1 or len(polygon) < 6 or len(polygon) % 2:
        raise DataError(f"{where}: a polygon has 3 or more corners x, y; got {polygon.size} numbers")
    far = FARTHEST * max(size)
    if not (np.abs(polygon) <= far).all():  # NaN too
        raise DataError(f"{where}: a corner is not a number or lies more than {far} pixels away")
    return polygon


def _place(path: Path, file: str) -> Path:
    """Where an image lies: beside the file, in images/, or in NAME/ of annotations/instances_NAME.json."""
    home, name = path.parent, path.stem.rpartition("_")[2]
    places = [home / file, home / "images" / file, home.parent / "images" / file, home.parent / name / file]
    return next((place for place in places if place.exists()), places[0])

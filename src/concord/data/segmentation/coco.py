"""COCO's JSON: outlines and run-length encoded regions of objects, drawn into one mask for each image.

Source: T.-Y. Lin et al., "Microsoft COCO: Common Objects in Context", ECCV 2014, and its data format. Class 0
is the background; the other classes are the categories by their id. Where objects overlap, the smaller one is
in front.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from concord.data import coco_file
from concord.data.coco_file import Entry, text, whole
from concord.data.images.folder import SPLITS, class_folders
from concord.data.segmentation import polygons, rle
from concord.data.segmentation.pairs import Found, Pair, Place
from concord.data.segmentation.raster import RED, Raster
from concord.errors import DataError
from concord.files.text import printable

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
    content = coco_file.document(path)
    classes, numbers = _classes(path, content)
    images = coco_file.images(path, content)
    sizes = {image: _size(*placed) for image, placed in images.items()}
    regions: dict[int, list[Region]] = defaultdict(list)
    for where, annotation in coco_file.entries(path, content, "annotations"):
        image = whole(annotation, "image_id", where)
        category = whole(annotation, "category_id", where)
        if image not in images or category not in numbers:
            what = f"image {image}" if image not in images else f"category {category}"
            raise DataError(f"{where} belongs to {what}, which the file does not list")
        regions[image].append(_region(annotation, where, numbers[category], sizes[image]))
    pairs = []
    for image, (where, entry) in images.items():
        file = text(entry, "file_name", where)
        truth = Regions(f"{printable(path)}, image {image}", sizes[image], regions[image])
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


def _size(where: str, image: Entry) -> tuple[int, int]:
    height, width = whole(image, "height", where), whole(image, "width", where)
    if not (0 < height < RED and 0 < width < RED):
        raise DataError(f"{where}: height and width are {height} and {width}")
    return height, width


def _classes(path: Path, content: Entry) -> tuple[tuple[str, ...], dict[int, int]]:
    """Names, and category id -> number of the class; a category named background is class 0."""
    named = dict(sorted(coco_file.categories(path, content).items()))
    names = [BACKGROUND, *(name for name in named.values() if name != BACKGROUND)]
    if len(names) < 2:
        raise DataError(f"{printable(path)} lists no categories")
    return tuple(names), {number: names.index(name) for number, name in named.items()}


def _region(annotation: Entry, where: str, number: int, size: tuple[int, int]) -> Region:
    given = annotation.get("segmentation")
    if isinstance(given, dict):
        if given.get("size") != list(size):
            raise DataError(f"{where}: its region is of size {given.get('size')}, its image of {list(size)}")
        return Region(where, number, runs=_runs(given.get("counts"), where))
    if not isinstance(given, list) or not given:
        raise DataError(f"{where} has no segmentation; annotations with boxes alone are for --task detect")
    outlines = tuple(_polygon(corners, where, size) for corners in given)
    _require_inside(outlines, where, size)
    return Region(where, number, outlines)


def _require_inside(outlines: Sequence[NDArray[np.float64]], where: str, size: tuple[int, int]) -> None:
    """DataError for outlines that would leave the mask empty: in fractions of the image, or outside of it."""
    height, width = size
    x, y = np.concatenate(outlines).reshape(-1, 2).T
    if max(x.max(), y.max()) <= 1:
        raise DataError(f"{where}: the outline seems to be in fractions of the image, expected pixels")
    if x.min() >= width or y.min() >= height or x.max() <= 0 or y.max() <= 0:
        raise DataError(
            f"{where}: the outline lies outside the image of {width}x{height} pixels; correct or remove it"
        )


def _runs(counts: Any, where: str) -> NDArray[np.int64]:
    try:
        runs = rle.from_text(counts) if isinstance(counts, str) else counts
        if not isinstance(runs, list) or not all(type(run) is int for run in runs):
            raise ValueError("the counts of its region are a list of whole numbers, or a text")
        return np.array(runs, np.int64)
    except (ValueError, OverflowError) as error:
        raise DataError(f"{where}: {printable(error)}") from error


def _polygon(corners: Any, where: str, size: tuple[int, int]) -> NDArray[np.float64]:
    if not isinstance(corners, list) or not all(type(number) in (int, float) for number in corners):
        raise DataError(f"{where}: a polygon is a list of numbers x, y, x, y, ...")
    if len(corners) < 6 or len(corners) % 2:
        raise DataError(f"{where}: a polygon has 3 or more corners x, y; got {len(corners)} numbers")
    try:
        polygon = np.array(corners, np.float64)
    except OverflowError:
        raise DataError(f"{where}: a corner is a number that is too large") from None
    far = FARTHEST * max(size)
    if not (np.abs(polygon) <= far).all():  # NaN too
        raise DataError(f"{where}: a corner is not a number or lies more than {far} pixels away")
    return polygon


def _place(path: Path, file: str) -> Path:
    """Where an image lies: beside the file, in images/, or in NAME/ of annotations/instances_NAME.json."""
    home, name = path.parent, path.stem.rpartition("_")[2]
    places = [home / file, home / "images" / file, home.parent / "images" / file, home.parent / name / file]
    return next((place for place in places if place.exists()), places[0])

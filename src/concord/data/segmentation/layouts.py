"""Which mask belongs to which image: folders, lists of names, and stacks.

images/NAME.png, masks/NAME.png                 also with train/, valid/, test/ below or above them
train/NAME.png, train_labels/NAME.png           as CamVid has it; also train_masks, trainannot
JPEGImages, SegmentationClass, ImageSets/       as PASCAL VOC has it
images.tif, masks.tif                           frames of stacks; also train-volume.tif, train-labels.tif
"""

from collections.abc import Iterator
from pathlib import Path

from concord.data.images import decode
from concord.data.images.files import is_image_name, names_below
from concord.data.images.folder import SPLITS, class_folders
from concord.data.segmentation.lists import as_listed
from concord.data.segmentation.pairs import Found, MaskFile, Pair, Place
from concord.errors import DataError
from concord.files.text import counted, printable

IMAGES = ("images", "image", "imgs", "jpegimages")
MASKS = ("masks", "mask", "labels", "label", "annotations", "segmentationclass")
BESIDE = ("_labels", "_masks", "annot")  # the folder of masks beside the folder of images of a part
ENDINGS = ("_mask", "_label", "_l")  # of the name of a mask, behind the name of its image
STACKS = (
    ("images", "masks", ""),
    ("train-volume", "train-labels", ""),
    ("test-volume", "test-labels", "test"),
)


def in_folder(root: Path) -> Found | None:
    """The pairs of a folder that has one of the layouts above; None if it has none of them."""
    stacks = {part: stack for images, masks, part in STACKS if (stack := _stack(root, images, masks))}
    if stacks:
        return Found({part: _frames(*pair) for part, pair in stacks.items()})
    halves = dict(_halves(root))
    if not halves:
        return None
    parts: dict[str, list[Pair]] = {}
    bad: list[tuple[str, str]] = []
    for part, (images, masks) in halves.items():
        matched, alone = _matched(images, masks)
        bad += alone
        for pair in matched:
            parts.setdefault(part or _part_in_name(pair.name), []).append(pair)
    return as_listed(root, Found(parts, tuple(bad)))


def recognised(root: Path) -> bool:
    """Whether a folder has one of the layouts, whatever is wrong with its files."""
    return any(_stack(root, images, masks) for images, masks, _ in STACKS) or bool(dict(_halves(root)))


def _halves(root: Path) -> Iterator[tuple[str, tuple[Path, Path]]]:
    """Part -> folder of images and folder of masks."""
    pair = _two_folders(root)
    if pair is not None:
        yield "", pair
        return
    for folder in class_folders(root):
        part = SPLITS.get(folder.name.lower())
        if part is None:
            continue
        beside = [place for end in BESIDE if (place := folder.with_name(folder.name + end)).is_dir()]
        pair = _two_folders(folder) or ((folder, beside[0]) if beside else None)
        if pair is not None:
            yield part, pair


def _two_folders(root: Path) -> tuple[Path, Path] | None:
    folders = {folder.name.lower(): folder for folder in class_folders(root)}
    images = next((folders[name] for name in IMAGES if name in folders), None)
    masks = next((folders[name] for name in MASKS if name in folders), None)
    if images is None or masks is None or not any(map(is_image_name, names_below(masks))):
        return None  # labels may be boxes in text files
    return images, masks


def _part_in_name(name: str) -> str:
    first, slash, _ = name.partition("/")
    return SPLITS.get(first.lower(), "") if slash else ""


def _matched(images: Path, masks: Path) -> tuple[list[Pair], list[tuple[str, str]]]:
    """Images with the mask of their name, and files that stand alone or twice."""
    bad: list[tuple[str, str]] = []
    pictures, truths = _by_name(images, bad), _by_name(masks, bad)
    for name in sorted(truths.keys() - pictures.keys()):
        ending = next((end for end in ENDINGS if name.lower().endswith(end)), "")
        image = name.removesuffix(name[-len(ending) :]) if ending else ""
        if image in truths:
            bad.append((str(truths.pop(name)), _twice(truths[image])))
        elif image in pictures:
            truths[image] = truths.pop(name)
    for mine, others, what in ((pictures, truths, "mask"), (truths, pictures, "image")):
        where = printable((masks if what == "mask" else images).name)
        bad += [
            (str(mine[name]), f"has no {what} of that name in {where}")
            for name in sorted(mine.keys() - others.keys())
        ]
    both = sorted(pictures.keys() & truths.keys(), key=natural)
    return [Pair(name, Place(pictures[name]), MaskFile(Place(truths[name]))) for name in both], bad


def _by_name(folder: Path, bad: list[tuple[str, str]]) -> dict[str, Path]:
    files: dict[str, Path] = {}
    for name in filter(is_image_name, names_below(folder)):
        stem = name.rpartition(".")[0]
        if stem in files:
            bad.append((str(folder / name), _twice(files[stem])))
        files.setdefault(stem, folder / name)
    return files


def _twice(other: Path) -> str:
    return f"has the name of {printable(other.name)}; keep one of them"


def natural(name: str) -> list[tuple[int, str]]:
    """A key by which 2 comes before 10 and numbers before letters."""
    return [(int(piece), "") if piece.isdecimal() else (1 << 62, piece) for piece in _pieces(name)]


def _pieces(name: str) -> list[str]:
    pieces: list[str] = []
    for character in name:
        if pieces and pieces[-1][-1].isdecimal() == character.isdecimal():
            pieces[-1] += character
        else:
            pieces.append(character)
    return pieces


# Stacks


def _stack(root: Path, images: str, masks: str) -> tuple[Path, Path] | None:
    pair = [
        path
        for name in (images, masks)
        for end in (".tif", ".tiff")
        if (path := root / (name + end)).is_file()
    ]
    return (pair[0], pair[1]) if len(pair) == 2 else None


def _frames(images: Path, masks: Path) -> list[Pair]:
    """DataError if the two files have different numbers of frames."""
    with decode.quiet():
        count, others = decode.frames(images), decode.frames(masks)
    if count != others:
        raise DataError(
            f"{printable(images)} has {counted(count, 'frame')}, {printable(masks)} has {others:,};"
            " each image needs its mask"
        )
    return [Pair(str(i), Place(images, i), MaskFile(Place(masks, i))) for i in range(count)]

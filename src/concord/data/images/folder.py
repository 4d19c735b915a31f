"""A folder with one folder of images for each class, or such a folder for each of train, valid and test.

The number of a class is its place among the sorted names of the training part. Other parts are read by
name, so a class that is missing there shifts nothing.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from concord.data.images import pictures
from concord.data.images.decode import LARGEST
from concord.data.images.files import UNREAD, by_kind, is_image_name, kind_of, names_below, unread_kinds
from concord.data.images.images import Images
from concord.data.images.parts import Bad, Parts
from concord.data.images.stores import InFiles
from concord.data.names import Chosen
from concord.errors import DataError
from concord.files.text import counted, printable

TEXTS = "; texts are for the task sequence: --task sequence"
SPLITS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("valid", "val", "validation", "dev"), "valid"),
    **dict.fromkeys(("test", "testing"), "test"),
}


@dataclass(frozen=True)
class Listing:
    """The files of each class of one part, and the files that are no images."""

    files: Mapping[str, Sequence[str]]  # paths from the root
    ignored: Sequence[str] = ()
    empty: Sequence[str] = ()  # folders without an image


@dataclass
class Findings:
    notices: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def class_folders(folder: Path) -> list[Path]:
    """The folders in it that are not hidden, sorted by name."""
    with os.scandir(folder) as entries:
        names = sorted(e.name for e in entries if not e.name.startswith(".") and e.is_dir())
    return [folder / name for name in names]


def parts(
    root: Path,
    size: int | None = None,
    watch: pictures.Watch | None = None,
    largest: float = LARGEST,
) -> Parts:
    """Every image below ``root`` at one size, still undecoded; what is wrong with headers and class maps is
    collected.

    Shape of each part: (N, C, H, W) uint8; C = 1 if all images of all parts are grey, else 3.
    """
    findings = Findings()
    listings: dict[str, Listing] = {}
    for part, place in _places(root, findings).items():
        listings[part] = _listing(place, root, watch, sum(map(_count, listings.values())))
    _tell_ignored(root, listings, findings)
    classes = tuple(listings["train"].files)
    if len(classes) < 2:
        raise DataError(_too_few(root, listings["train"], classes))
    files = {part: _numbered(listing, part, classes, findings) for part, listing in listings.items()}
    found = pictures.headers(root, [name for names, _ in files.values() for name in names], watch, largest)
    plan = pictures.layout(found, size)
    store, good = found.store(plan), found.good
    read: dict[str, Images | None] = {}
    begin = 0
    for part, (names, numbers) in files.items():
        here = (good >= begin) & (good < begin + len(names))
        rows, labels = np.flatnonzero(here), np.array(numbers, np.int64)[good[here] - begin]
        read[part] = _part(store, rows, labels, classes)
        begin += len(names)
        if read[part] is None:
            findings.problems.append(nothing_in(part, root))
    return Parts(
        "folder",
        read["train"],
        valid=read.get("valid"),
        test=read.get("test"),
        notices=(*findings.notices, *plan.notices),
        problems=tuple(findings.problems),
        bad=tuple(Bad(found.names.name(i), reason) for i, reason in found.bad.items()),
        sizes=pictures.histogram(found),
    )


def nothing_in(part: str, root: Path) -> str:
    return f"the {part} part of {printable(root)} has no image that can be read"


def _places(root: Path, findings: Findings) -> dict[str, Path]:
    folders = class_folders(root)
    splits = [(SPLITS[entry.name.lower()], entry) for entry in folders if entry.name.lower() in SPLITS]
    names = [name for name, _ in splits]
    # A folder called train beside cats and dogs is a class; beside test or valid, or alone, it is a part.
    if "train" not in names or (len(set(names)) == 1 and len(folders) > 1):
        riddles = [riddle for _, place in splits if (riddle := _part_or_class(root, place))]
        findings.problems += riddles
        if not riddles:
            _tell_nested(root, findings)
        return {"train": root}
    for name in sorted(set(names)):
        if names.count(name) > 1:
            findings.problems.append(f"{printable(root)} has more than one {name} part; keep one of them")
    extra = [printable(entry.name) for entry in folders if entry.name.lower() not in SPLITS]
    if extra:
        findings.notices.append(f"folders beside train and test ignored: {', '.join(extra)}")
    for _, place in splits:
        _tell_nested(place, findings)
    return {"train": root} | dict(splits)


def _part_or_class(root: Path, place: Path) -> str | None:
    """What is wrong with a folder that has name and classes of a part, but no other part beside it."""
    nested = _nested(place)
    return nested and (
        f"{printable(root)}: {nested}. A part of the data is called train, valid or test, and nothing else "
        "stands beside it: move the rest away, or, if it is a class, its images up"
    )


def _tell_nested(place: Path, findings: Findings) -> None:
    """A class made of folders of images is read whole."""
    found = [nested for folder in class_folders(place) if (nested := _nested(folder))]
    if found:
        findings.notices.append(
            f"{printable(place.name)}: folders inside a class belong to it: {'; '.join(found)}"
        )


def _nested(folder: Path) -> str | None:
    """``car holds new, old`` if several folders in it have images."""
    names = [inside.name for inside in class_folders(folder) if any(map(is_image_name, names_below(inside)))]
    return f"{printable(folder.name)} holds {_some(names)}" if len(names) > 1 else None


def _count(listing: Listing) -> int:
    return len(listing.ignored) + sum(map(len, listing.files.values()))


def _listing(place: Path, root: Path, watch: pictures.Watch | None, already: int) -> Listing:
    files: dict[str, list[str]] = {}
    ignored = [_name(entry, root) for entry in place.iterdir() if not entry.is_dir()]
    empty = []
    counted = already
    for folder in class_folders(place):
        found = None if watch is None else lambda count: watch(count, 0)
        head = f"{_name(folder, root)}/"
        inside = [head + name for name in names_below(folder, {root, place}, found, counted)]
        counted += len(inside)
        images = [name for name in inside if is_image_name(name)]
        ignored += [name for name in inside if not is_image_name(name)]
        if images:
            files[folder.name] = images
        else:
            empty.append(folder.name)
    return Listing(files, ignored, empty)


def _tell_ignored(root: Path, listings: Mapping[str, Listing], findings: Findings) -> None:
    ignored = sorted(name for listing in listings.values() for name in listing.ignored)
    loose = [name for name in ignored if is_image_name(name)]  # those in class folders are used
    if loose:
        lie = "lies in no class folder and is" if len(loose) == 1 else "lie in no class folder and are"
        findings.notices.append(f"{counted(len(loose), 'image')} {lie} ignored: {_some(loose)}")
    if unread := unread_kinds(ignored):
        findings.notices.append(f"ignored: {unread}")
    others = [name for name in ignored if not is_image_name(name) and kind_of(name) not in UNREAD]
    if others:
        files = counted(len(others), "file that is not an image", "files that are not images")
        findings.notices.append(f"ignored: {files} ({by_kind(others)}): {_some(others)}")
    for part, listing in listings.items():
        if listing.empty:
            folders = counted(len(listing.empty), "folder has", "folders have")
            findings.notices.append(
                f"{folders} no image that is read and {_do_not(listing.empty)} count as a class ({part}): "
                f"{_some(listing.empty)}"
            )


def _do_not(names: Sequence[str]) -> str:
    return "does not" if len(names) == 1 else "do not"


def _some(names: Sequence[str]) -> str:
    return ", ".join(map(printable, names[:5])) + (f" and {len(names) - 5:,} more" if len(names) > 5 else "")


def _too_few(root: Path, train: Listing, classes: Sequence[str]) -> str:
    there = f"only '{printable(classes[0])}'" if classes else "none"
    loose = any(is_image_name(path) for path in train.ignored)
    cure = "move the images into one folder for each class" if loose else "expected CLASS/*.png, *.jpg ..."
    cure += TEXTS if any(kind_of(path) == "TXT" for path in train.ignored) else ""
    unread = unread_kinds(train.ignored)
    return (
        f"{printable(root)} needs a folder of images for each of 2 or more classes; there is {there}; "
        f"{cure}{f'; {unread}' if unread else ''}"
    )


def loose_images(folder: Path) -> str | None:
    """What to do with images that lie in a folder without class folders; None if there are none."""
    names = [path.name for path in folder.iterdir() if path.is_file()]
    images, unread = [name for name in names if is_image_name(name)], unread_kinds(names)
    if not images and not unread:
        return None
    holds = counted(len(images), "image") if images else "pictures"
    more = f"; {unread}" if unread else ""
    return (
        f"{printable(folder)} holds {holds}, but no class folders: move the images into one folder for each "
        f"class, such as {printable(folder)}/cat/ and {printable(folder)}/dog/{more}"
    )


def _numbered(
    listing: Listing, part: str, classes: Sequence[str], findings: Findings
) -> tuple[list[str], list[int]]:
    """The files of a part, class by class, and the number of the class of each."""
    extra = [name for name in listing.files if name not in classes]
    if extra:
        findings.problems.append(
            f"the {part} part has classes that train does not have: {_some(extra)}; "
            f"train has {_some(classes)}; rename or remove them"
        )
    pairs = [(path, k) for k, name in enumerate(classes) for path in listing.files.get(name, ())]
    return [path for path, _ in pairs], [k for _, k in pairs]


def _part(
    store: InFiles, rows: NDArray[np.int64], labels: NDArray[np.int64], classes: tuple[str, ...]
) -> Images | None:
    if not len(rows):
        return None
    return Images(store, torch.from_numpy(labels), classes, Chosen(store.names, rows), torch.from_numpy(rows))


def _name(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix()

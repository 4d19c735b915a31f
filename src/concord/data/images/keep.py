"""Where the pixels of image files are while they are in use: in memory, in a cache on disk, or nowhere."""

import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import torch

from concord.data import memory
from concord.data.images import cache, pictures
from concord.data.images.folder import nothing_in
from concord.data.images.images import Images, Known
from concord.data.images.parts import Bad, Parts
from concord.data.images.pictures import Watch
from concord.data.images.stores import InFiles, InMemory, Store
from concord.data.normalise import Normalise
from concord.errors import ResourceError, UsageError

Keep = Literal["auto", "memory", "disk", "decode"]


@dataclass(frozen=True, eq=False)
class Kept:
    """A store with the rows of the files, and the reasons of those that could not be decoded."""

    store: Store
    bad: dict[int, str]
    notices: tuple[str, ...] = ()


def chosen(keep: Keep, files: InFiles, disk: bool = True) -> Keep:
    """``keep``, and for auto: memory for what fits in half of what is free, else disk if there is room."""
    if keep not in get_args(Keep):
        raise UsageError(f"data.keep must be one of {', '.join(get_args(Keep))}, got {keep!r}")
    if keep != "auto":
        return keep
    need, free = len(files) * int(np.prod(files.shape)), memory.available()
    if free is None or need <= free // 2:
        return "memory"
    try:
        room = disk and (cache.existing(files) is not None or need + cache.ROOM <= _free(cache.home()))
    except ResourceError:  # no folder can hold it
        room = False
    return "disk" if room else "decode"


def _free(folder: Path) -> int:
    there = next(p for p in (folder, *folder.absolute().parents) if p.exists())
    return shutil.disk_usage(there).free


def kept(
    files: InFiles, keep: Keep, watch: Watch | None = None, *, look: bool = True, disk: bool = True
) -> Kept:
    """The pixels of these files as ``keep`` says.

    With ``look`` the images of ``decode`` are decoded once too, so that those that cannot be are known. Of
    few enough images to be exact about, pixels stay in memory until ``released``.
    """
    way = chosen(keep, files, disk)
    if way == "disk":
        try:
            found = cache.cached(files, watch)
            return Kept(found.store, found.bad, (*_because(keep, way, files), *found.notices))
        except ResourceError as error:
            if keep != "auto":
                raise
            return replace(
                _on_the_way(files, watch, look), notices=(f"{error}; images are decoded on the way",)
            )
    if way == "decode" and files.marks is None:
        pixels, bad = pictures.in_memory(files, watch)
        return Kept(InMemory(pixels, files=files), bad, _because(keep, way, files))
    if way == "decode":
        return replace(_on_the_way(files, watch, look), notices=_because(keep, way, files))
    pixels, bad = pictures.in_memory(files, watch)
    return Kept(InMemory(pixels, files.marks), bad)


def _on_the_way(files: InFiles, watch: Watch | None, look: bool) -> Kept:
    return Kept(files, pictures.decoded(files, lambda row, pixels: None, watch) if look else {})


def _because(keep: Keep, way: Keep, files: InFiles) -> tuple[str, ...]:
    if keep != "auto":
        return ()
    need = memory.size(len(files) * int(np.prod(files.shape)))
    where = {"disk": "kept in a cache on disk", "decode": "decoded while they are used"}[way]
    return (f"the pixels take {need}, more than half of the memory that is free: images are {where}",)


def settled(
    parts: Parts, keep: Keep, watch: Watch | None = None, *, look: bool = True, disk: bool = True
) -> Parts:
    """The parts with the pixels of image files kept as said, and without the images that cannot be decoded.

    ``disk=False``: auto never makes a cache.
    """
    stores = {id(i.store): i.store for _, i in parts.present() if isinstance(i.store, InFiles)}
    for files in stores.values():  # there is one at most
        found = kept(files, keep, watch, look=look, disk=disk)
        bad = tuple(Bad(files.names.name(row), reason) for row, reason in sorted(found.bad.items()))
        problems = list(parts.problems)
        parts = replace(
            parts,
            train=_moved(parts.train, files, found, "train", problems),
            valid=_moved(parts.valid, files, found, "valid", problems),
            test=_moved(parts.test, files, found, "test", problems),
            bad=(*parts.bad, *bad),
            problems=tuple(problems),
            notices=(*parts.notices, *found.notices),
        )
    return parts


def _moved(
    images: Images | None, files: InFiles, found: Kept, part: str, problems: list[str]
) -> Images | None:
    if images is None or images.store is not files:
        return images
    there = replace(images, store=found.store)
    if not found.bad or not len(images):
        return there
    good = ~np.isin(images.places().numpy(), list(found.bad))
    if not good.any():
        problems.append(nothing_in(part, files.root))
        return None
    return there.subset(torch.from_numpy(np.flatnonzero(good)))


def released(images: Images, *, statistics: bool = False) -> Images:
    """The images without the pixels that were in memory only to look at them; what was found is noted."""
    store = images.store
    if not isinstance(store, InMemory) or store.files is None:
        return images
    normalise = Normalise.of(images) if statistics else None
    return replace(images, store=store.files, known=Known(images.fingerprint, normalise))


def used(parts: Parts) -> Parts:
    """The parts with a store of only those image files that one of them uses."""
    there = [images for _, images in parts.present() if isinstance(images.store, InFiles)]
    if not there:
        return parts
    files = there[0].store
    assert isinstance(files, InFiles)
    rows = np.unique(np.concatenate([images.places().numpy() for images in there]))
    fewer = files.subset(rows)

    def moved(images: Images | None) -> Images | None:
        if images is None or images.store is not files:
            return images
        places = np.searchsorted(rows, images.places().numpy())
        return replace(images, store=fewer, rows=torch.from_numpy(places))

    return replace(parts, train=moved(parts.train), valid=moved(parts.valid), test=moved(parts.test))

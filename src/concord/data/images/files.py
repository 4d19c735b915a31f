"""Finding image files: below folders, and from what a user typed."""

import os
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path

from PIL import Image, features

from concord.errors import DataError, suggestion
from concord.files.paths import expanded
from concord.files.text import printable

AVIF = "avif" in features.modules and features.check("avif")  # Pillow may be built without it
with suppress(ImportError):  # the extra concord[heic]
    from pillow_heif import register_heif_opener

    register_heif_opener()
HEIC = "HEIF" in Image.OPEN
SUFFIXES = frozenset(
    (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm", ".pbm")
    + ((".avif",) if AVIF else ())
    + ((".heic", ".heif") if HEIC else ())
)
PICTURES = (
    "AVIF",
    "HEIC",
    "HEIF",
    "JXL",
    "JP2",
    "SVG",
    "PSD",
    "ICO",
    "TGA",
    "CR2",
    "CR3",
    "NEF",
    "ARW",
    "DNG",
)
UNREAD = frozenset(PICTURES) - {suffix[1:].upper() for suffix in SUFFIXES}  # pictures that are not read


Found = Callable[[int], None]  # called with the number of files found so far; its error ends that


def is_image_name(path: Path | str) -> bool:
    """Whether the suffix is one of an image and the file is not hidden."""
    name = str(path).rpartition("/")[2]
    stem, dot, suffix = name.rpartition(".")
    return bool(stem) and (dot + suffix).lower() in SUFFIXES and not name.startswith(".")


def kind_of(name: str) -> str:
    """``HEIC`` of ``a/b.heic``; nothing for a name without a suffix, as a hidden file has."""
    return Path(name).suffix[1:].upper()


def by_kind(names: Iterable[str]) -> str:
    """``37 HEIC, 2 TXT``, most frequent first."""
    kinds = Counter(kind_of(name) or "without a suffix" for name in names).most_common()
    return ", ".join(f"{n:,} {printable(kind)}" for kind, n in kinds[:8])


def unread_kinds(names: Iterable[str]) -> str:
    """``37 HEIC: convert them to JPEG or PNG`` for pictures of kinds that are not read, if there are any."""
    found = [name for name in names if kind_of(name) in UNREAD]
    if not found:
        return ""
    heic = any(kind_of(name) in ("HEIC", "HEIF") for name in found)
    extra = "; `pip install concord[heic]` reads HEIC" if heic else ""
    return f"{by_kind(found)}: convert {'it' if len(found) == 1 else 'them'} to JPEG or PNG{extra}"


def below(folder: Path, above: Iterable[Path] = ()) -> list[Path]:
    """Every file below ``folder``, as ``names_below`` finds it."""
    return [folder / name for name in names_below(folder, above)]


def names_below(
    folder: Path, above: Iterable[Path] = (), found: Found | None = None, already: int = 0
) -> list[str]:
    """Every file below ``folder`` by its path from there, but for those in hidden folders, sorted by folder.

    Links are followed; a folder is entered once, and those in ``above`` never, so that loops end.
    ``found`` is told the number of files after each folder and each thousand files, ``already`` counted in.
    """
    entered = {_identity(path) for path in above}
    names: list[str] = []
    pending = [""]
    while pending:
        inside = pending.pop()
        here = folder / inside
        if _identity(here) in entered:
            continue
        entered.add(_identity(here))
        with os.scandir(here) as entries:
            for entry in entries:
                if not entry.is_dir():
                    names.append(inside + entry.name)
                elif not entry.name.startswith("."):
                    pending.append(f"{inside}{entry.name}/")
                if found and len(names) % 1000 == 999:
                    found(already + len(names))
        if found:
            found(already + len(names))
    # as sorted by their parts: a name never holds a NUL, which comes before everything else
    return sorted(names, key=lambda name: name.replace("/", "\0"))


def _identity(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_dev, status.st_ino


def expand(paths: Sequence[str]) -> list[Path]:
    """Image files for files, folders (everything below, sorted) and glob patterns, in the order given.

    A file that is named outright is kept whatever its suffix. Raises DataError for what matches nothing.
    """
    return [path for text in paths for path in _expanded(text)]


def matches(pattern: Path) -> list[Path]:
    """What a glob pattern stands for, sorted; ValueError or OSError for what cannot be one."""
    root = Path(pattern.anchor)
    return sorted(root.glob(str(pattern.relative_to(root))), key=lambda path: path.parts)


def _expanded(text: str) -> list[Path]:
    try:
        path = expanded(text)
        if path.is_file():
            return [path]
        # A name that exists is never a pattern: 'photos [2024]' is a folder.
        roots = [path] if path.exists() else matches(path)
        found = [p for root in roots for p in (below(root) if root.is_dir() else [root]) if is_image_name(p)]
    except (OSError, ValueError, RuntimeError) as error:
        raise DataError(
            f"{printable(text)} cannot be read: {getattr(error, 'strerror', None) or error}"
        ) from error
    if found:
        return found
    if path.is_dir():
        raise DataError(f"{printable(text)}: the folder holds no image ({', '.join(sorted(SUFFIXES))})")
    near = [str(p) for p in path.parent.iterdir()] if path.parent.is_dir() else []
    what = "no image file matches" if set(text) & set("*?[") else "no such file or folder"
    raise DataError(f"{printable(text)}: {what}{printable(suggestion(str(path), near))}")

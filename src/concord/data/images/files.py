"""Finding image files: below folders, and from what a user typed."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from concord.data.text import printable
from concord.errors import DataError, suggestion

SUFFIXES = frozenset(
    (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm", ".pbm")
)


def is_image_name(path: Path) -> bool:
    """Whether the suffix is one of an image and the file is not hidden."""
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(".")


def below(folder: Path, above: Iterable[Path] = ()) -> list[Path]:
    """Every file below ``folder``, but for those in hidden folders, sorted by path.

    Links are followed; a folder is entered once, and those in ``above`` never, so that loops end.
    """
    entered = {_identity(path) for path in above}
    found: list[Path] = []
    pending = [folder]
    while pending:
        here = pending.pop()
        if _identity(here) in entered:
            continue
        entered.add(_identity(here))
        for entry in here.iterdir():
            if not entry.is_dir():
                found.append(entry)
            elif not entry.name.startswith("."):
                pending.append(entry)
    return sorted(found, key=lambda path: path.parts)


def _identity(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_dev, status.st_ino


def expand(paths: Sequence[str]) -> list[Path]:
    """Image files for files, folders (everything below, sorted) and glob patterns, in the order given.

    A file that is named outright is kept whatever its suffix. Raises DataError for what matches nothing.
    """
    return [path for text in paths for path in _expanded(text)]


def _matches(pattern: Path) -> list[Path]:
    root = Path(pattern.anchor)
    return sorted(root.glob(str(pattern.relative_to(root))), key=lambda path: path.parts)


def _expanded(text: str) -> list[Path]:
    try:
        path = Path(text).expanduser()
        if path.is_file():
            return [path]
        # A name that exists is never a pattern: 'photos [2024]' is a folder.
        roots = [path] if path.exists() else _matches(path)
        found = [p for root in roots for p in (below(root) if root.is_dir() else [root]) if is_image_name(p)]
    except (OSError, ValueError, RuntimeError) as error:
        raise DataError(
            f"{printable(text)} cannot be read: {getattr(error, 'strerror', None) or error}"
        ) from error
    if found:
        return found
    if path.is_dir():
        raise DataError(f"the folder {printable(text)} holds no image ({', '.join(sorted(SUFFIXES))})")
    near = [str(p) for p in path.parent.iterdir()] if path.parent.is_dir() else []
    raise DataError(f"no image file matches {printable(text)}{printable(suggestion(str(path), near))}")

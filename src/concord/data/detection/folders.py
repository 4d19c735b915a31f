"""What the readers of all formats look for in a folder: images, parts, lists, names of classes."""

from collections.abc import Iterator
from pathlib import Path

from concord.data.detection.annotated import PARTS
from concord.data.images.files import is_image_name
from concord.errors import DataError
from concord.files import bounded
from concord.files.text import printable

LARGEST = 256 * 2**20  # bytes of a text file
NAMES = ("classes.txt", "obj.names", "labels.txt", "predefined_classes.txt", "_darknet.labels")


def images_in(folder: Path) -> dict[str, Path]:
    """Stem -> image file, directly in the folder, sorted by name."""
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if is_image_name(path.name):
            found.setdefault(path.stem, path)
    return found


def part_folders(root: Path) -> dict[str, Path]:
    """Part -> its folder, for folders such as train, val and test."""
    inside = {path.name.lower(): path for path in sorted(root.iterdir()) if path.is_dir()}
    return {PARTS[name]: path for name, path in inside.items() if name in PARTS}


def there(path: Path) -> bool:
    """Whether there is such a file or folder; not for a name that none can have."""
    try:
        return path.exists()
    except (OSError, ValueError):
        return False


def text_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Number and text of every line that is not blank; DataError for a file that is not UTF-8 text."""
    for number, line in enumerate(text_of(path).split("\n"), 1):
        if line.strip():
            yield number, line.strip()


def text_of(path: Path) -> str:
    """The content of a text file, in UTF-8 with or without a byte order mark."""
    try:
        return bounded.read(path, LARGEST).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{printable(path)}: byte {error.start} is not UTF-8 text") from None
    except (OSError, ValueError) as error:
        raise DataError(
            f"{printable(path)} cannot be read: {getattr(error, 'strerror', None) or error}"
        ) from error


def names_of_classes(root: Path) -> tuple[str, ...] | None:
    """The classes in the order of a file such as classes.txt, or None."""
    for name in NAMES:
        if (root / name).is_file():
            return tuple(line for _, line in text_lines(root / name))
    return None

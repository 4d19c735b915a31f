"""Parts as text files list them: train.txt, valid.txt, test.txt, each with a name in a line."""

from collections.abc import Iterator
from pathlib import Path

from concord.data.images.files import is_image_name
from concord.data.images.folder import SPLITS
from concord.data.segmentation.pairs import Found, Pair
from concord.errors import DataError
from concord.files import bounded
from concord.files.text import counted, printable

LIST = 64 * 2**20  # bytes of a list of names


def as_listed(root: Path, found: Found) -> Found:
    """The pairs in the parts of lists in the folder or in ImageSets/Segmentation, if there are any.

    Raises DataError with file and line.
    """
    lists = dict(_lists(root))
    if not lists:
        return found
    pairs = {pair.name: pair for part in found.parts.values() for pair in part}
    by_last = {name.rpartition("/")[2]: name for name in pairs}
    parts: dict[str, list[Pair]] = {}
    taken: set[str] = set()
    for part, (path, names) in lists.items():
        for line, name in names:
            known = name if name in pairs else by_last.get(name)
            if known is None:
                raise DataError(f"{printable(path)}, line {line}: {printable(name)} has no image with a mask")
            if known in taken:
                raise DataError(f"{printable(path)}, line {line}: {printable(name)} stands in two places")
            taken.add(known)
            parts.setdefault(part, []).append(pairs[known])
    rest = [pair for name, pair in pairs.items() if name not in taken]
    alone = [name for name, _ in found.bad]
    notices = list(found.notices)
    if "train" not in parts and rest:
        parts[""] = rest
    elif rest or alone:
        notices.append(f"{counted(len(rest) + len(alone), 'file')} in no list of names left out")
    # a list says what belongs to the data, so that files outside of it may stand alone
    return Found(parts, found.bad if "train" not in parts else (), tuple(notices))


def _lists(root: Path) -> Iterator[tuple[str, tuple[Path, list[tuple[int, str]]]]]:
    for folder in (root, root / "ImageSets" / "Segmentation"):
        for name in SPLITS:
            path = folder / f"{name}.txt"
            if path.is_file():
                yield SPLITS[name], (path, _names(path))


def _names(path: Path) -> list[tuple[int, str]]:
    try:
        lines = bounded.read(path, LIST).decode("utf-8-sig").splitlines()
    except (OSError, ValueError) as error:
        raise DataError(f"{printable(path)} cannot be read as a list of names: {error}") from error
    stripped = [(n, line.strip()) for n, line in enumerate(lines, 1) if line.strip()]
    return [(n, name.rpartition(".")[0] if is_image_name(name) else name) for n, name in stripped]

"""What the Tab key offers after ``concord --install-completion``: networks and folders, without torch."""

from contextlib import suppress
from pathlib import Path


def networks(incomplete: str) -> list[str]:
    """Networks of the zoo for the last of several names with commas between them."""
    from concord.zoo.registry import names

    before, comma, last = incomplete.rpartition(",")
    return [f"{before}{comma}{name}" for name in names() if name.startswith(last)]


def runs(incomplete: str) -> list[str]:
    """Run folders whose path begins so, and those one folder deeper; else the shell decides."""
    return _folders(incomplete, ("stamp.json",))


def runs_and_studies(incomplete: str) -> list[str]:
    return _folders(incomplete, ("stamp.json", "study.toml"))


def _folders(incomplete: str, marks: tuple[str, ...]) -> list[str]:
    head, slash, start = incomplete.rpartition("/")
    typed = f"{head}{slash}"
    near = [name for name in _names(Path(typed)) if name.startswith(start)]
    deeper = [f"{name}/{inner}" for name in near for inner in _names(Path(typed, name))]
    return [f"{typed}{name}" for name in sorted([*near, *deeper]) if _has(Path(typed, name), marks)]


def _names(folder: Path) -> list[str]:
    with suppress(OSError):  # no folder, or nobody's business
        return [path.name for path in folder.iterdir()]
    return []


def _has(folder: Path, marks: tuple[str, ...]) -> bool:
    with suppress(OSError):
        return any((folder / mark).is_file() for mark in marks)
    return False

"""What the Tab key offers after ``concord --install-completion``: networks and run folders, without torch."""

from pathlib import Path


def networks(incomplete: str) -> list[str]:
    """Networks of the zoo for the last of several names with commas between them."""
    from concord.zoo.registry import names

    before, comma, last = incomplete.rpartition(",")
    return [f"{before}{comma}{name}" for name in names() if name.startswith(last)]


def runs(incomplete: str) -> list[str]:
    """Run folders whose path begins so, and those one folder deeper; else the shell decides."""
    head, slash, start = incomplete.rpartition("/")
    folder = Path(head + slash)
    near = [path for path in folder.iterdir() if path.name.startswith(start)] if folder.is_dir() else []
    deeper = [path for other in near if other.is_dir() for path in other.iterdir()]
    return sorted(str(path) for path in (*near, *deeper) if (path / "stamp.json").is_file())

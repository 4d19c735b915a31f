"""Paths as users type them."""

from pathlib import Path


def expanded(text: str | Path) -> Path:
    """``~`` and ``~user`` become a home folder; an unknown one stays as it is, as in a shell."""
    path = Path(text)
    try:
        return path.expanduser()
    except RuntimeError:
        return path

"""Links inside a run or study folder lead wherever its maker wanted: nothing is written through them."""

import os
import stat
from pathlib import Path

from concord.errors import CheckpointError

MARKS = ("ckpt", "stamp.json", "result.json", "interface.json")  # beside config.toml they make a folder a run


def refuse_links(path: Path) -> None:
    """CheckpointError if ``path`` lies in a run or study folder and something below that folder is a link.

    The folder itself may be reached through links: where it lies is its user's choice, what is in it may come
    from somebody else.
    """
    whole = path.absolute()
    below = False
    for part in (*reversed(whole.parents), whole):
        if below and part.is_symlink():
            raise CheckpointError(
                f"{part} is a link inside a run folder, and nothing is written through it: remove the link,"
                " or move the whole folder and link to that"
            )
        below = below or _holds_runs(part)


def _holds_runs(folder: Path) -> bool:
    if os.path.lexists(folder / "study.toml"):
        return True
    return os.path.lexists(folder / "config.toml") and any(os.path.lexists(folder / mark) for mark in MARKS)


def open_inside(path: Path, flags: int) -> int:
    """A handle of a regular file of a run that no other name leads to; it is made if ``flags`` say so.

    CheckpointError for a link, a hard link, a pipe or a device. OSError as ``os.open``.
    """
    if path.is_symlink():
        refuse_links(path)
        raise CheckpointError(f"{path} is a link, and nothing is written through it: remove the link")
    handle = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o666)
    found = os.fstat(handle)
    if stat.S_ISREG(found.st_mode) and found.st_nlink <= 1:
        return handle
    os.close(handle)
    what = "has another name too (a hard link)" if stat.S_ISREG(found.st_mode) else "is not a regular file"
    raise CheckpointError(f"{path} {what}, and nothing is written to it: replace it by a copy of its own")

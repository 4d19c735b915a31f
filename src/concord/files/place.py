"""Where results may be written: a mistyped path does not become a tree of folders."""

import shlex
from pathlib import Path

from concord.errors import UsageError, suggestion
from concord.files.text import printable


def require_folder_of(file: Path) -> None:
    """UsageError if the folder that a file is to lie in does not exist."""
    home = file.absolute().parent
    there = next(above for above in (home, *home.parents) if above.exists())
    if there == home or not there.is_dir():  # what lies in a file is refused by who writes it
        return
    missing = home.relative_to(there).parts[0]
    near = suggestion(missing, (each.name for each in there.iterdir() if each.is_dir()))
    raise UsageError(
        f"{printable(file)}: the folder {printable(home)} does not exist{printable(near)}; correct the path,"
        f" or make the folder first: mkdir -p {printable(shlex.quote(str(home)))}"
    )

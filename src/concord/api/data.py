"""Looking at data sets, and fetching public ones."""

from pathlib import Path
from typing import Any

from concord.data.checked import check
from concord.data.images.get import get


def data_check(source: str | Path, *, task: str | None = None) -> dict[str, Any]:
    """Everything that is wrong with a data set; ``ok`` says whether it can be used as it is.

    ``task``: "classify", "segment" (masks) or "detect" (boxes); without one as the files look.
    """
    return check(str(source), task=task).as_dict()


def data_get(name: str, into: str | Path | None = None) -> Path:
    """Download a data set through torchvision; the folder to name as data from then on."""
    folder = Path(into) if into else Path("data") / name
    return get(name, folder)

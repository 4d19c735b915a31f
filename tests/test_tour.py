"""Every call that the tour of the code lists exists, in the room that the tour names."""

import importlib
import re
from pathlib import Path

import pytest

import concord

TOUR = Path(__file__).parent.parent / "docs/tour.md"
CALLS = re.findall(r"^\| `([a-z_.]+[A-Za-z_.]*)` \| (\w+) \|", TOUR.read_text(), re.MULTILINE)


def found(call):
    """The object of a dotted name: the longest part that is a file is a module, the rest are attributes."""
    parts = call.split(".")
    root = Path(concord.__file__).parent
    files = [n for n in range(1, len(parts)) if root.joinpath(*parts[:n]).with_suffix(".py").is_file()]
    value = importlib.import_module(".".join(["concord", *parts[: files[-1]]]))
    for name in parts[files[-1] :]:
        value = getattr(value, name)
    return value


def test_the_tour_lists_a_way_from_disk_to_report():
    assert len(CALLS) > 10
    assert CALLS[0][1] == "cli"
    assert CALLS[-1][1] == "report"


@pytest.mark.parametrize(("call", "room"), CALLS)
def test_every_call_exists_in_its_room(call, room):
    assert call.split(".")[0] == room
    assert callable(found(call))

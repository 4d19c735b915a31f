"""Which room may import which: the table of design.md, and its guard."""

import ast
import re
from pathlib import Path

import pytest

import concord

ROOT = Path(concord.__file__).parent
LOWER = {
    "errors": set(),
    "plain": set(),
    "files": {"errors"},
    "native": {"errors"},
    "consensus": {"errors"},
    "attack": {"errors"},
    "baseline": {"errors"},
    "uncertainty": {"errors"},
    "layers": {"errors", "native"},
    "zoo": {"errors", "layers"},
    "cost": {"errors", "layers"},
    "data": {"errors", "files"},
    "tasks": {"errors", "consensus"},
    "training": {"errors", "files", "consensus", "tasks"},
}
UPPER = {"runs": set(LOWER)}
UPPER["studies"] = UPPER["sklearn"] = {*LOWER, "runs"}
UPPER["report"] = {*UPPER["studies"], "studies"}
UPPER["bench"] = {*UPPER["studies"], "studies"}
UPPER["api"] = {*UPPER["report"], "report"}
UPPER["cli"] = {*UPPER["api"], "api", "bench"}
MAY_IMPORT = LOWER | UPPER
# the package itself hands over to the functions, `python -m concord` to the command line
DOORS = {"__init__": set(MAY_IMPORT) - {"cli"}, "__main__": {"cli"}}


def files_of(room):
    """The room is a folder or one file; a room that is not built yet has none."""
    found = [*(ROOT / room).rglob("*.py"), ROOT / f"{room}.py"]
    return [path for path in found if path.is_file()]


def imports_of(path):
    """(line, level, module) of every import, wherever it stands: in functions and for type checking too."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, 0, alias.name
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                yield node.lineno, node.level, f"{node.module}.{alias.name}"


def rooms_imported(path):
    parts = [module.split(".") for _, _, module in imports_of(path)]
    return {names[1] for names in parts if names[0] == "concord" and len(names) > 1}


@pytest.mark.parametrize("room", [*MAY_IMPORT, *DOORS])
def test_room_imports_only_what_the_table_allows(room):
    for path in files_of(room):
        extra = rooms_imported(path) - (MAY_IMPORT | DOORS)[room] - {room}
        assert not extra, f"{path.relative_to(ROOT)} may not import {sorted(extra)}"


def test_the_tour_shows_this_table():
    text = (ROOT.parent.parent / "docs/tour.md").read_text().split("## Rooms\n")[1].split("\n## ")[0]
    rows = [line.strip("|").split(" | ") for line in text.splitlines() if line.startswith("| `")]
    shown = {}
    for room, _, allowed in rows:
        lower, _, rest = allowed.strip().partition("every room above from errors to training")
        names = {name for name in (lower or rest).split(", ") if name and name != "nothing"}
        shown[room.strip(" `")] = names if lower else names | set(LOWER)
    assert shown == MAY_IMPORT


def test_every_room_is_in_the_table():
    there = {path.stem for path in ROOT.iterdir() if path.name != "__pycache__" and path.name != "py.typed"}
    assert there <= set(MAY_IMPORT) | set(DOORS)


@pytest.mark.parametrize("path", sorted(ROOT.rglob("*.py")), ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_are_absolute_and_name_no_package_by_string(path):
    for line, level, module in imports_of(path):
        assert level == 0, f"{path.relative_to(ROOT)}:{line} relative import of {module}"
    calls = [n for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.Call)]
    by_string = [
        n.args[0].value
        for n in calls
        if n.args and isinstance(n.args[0], ast.Constant) and ast.unparse(n.func).endswith("import_module")
    ]
    assert by_string == [], "an import that the table cannot see"


@pytest.mark.parametrize("path", files_of("plain"), ids=lambda p: p.name)
def test_plain_needs_the_standard_library_only(path):
    import sys

    foreign = {module.split(".")[0] for _, _, module in imports_of(path)} - {"concord"}
    assert foreign <= sys.stdlib_module_names


def test_the_guard_sees_every_form_of_import(tmp_path):
    forms = {
        "import concord.zoo.build": "zoo",
        "from concord import zoo": "zoo",
        "from concord.zoo import build": "zoo",
        "def f():\n    from concord.zoo.build import build": "zoo",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import concord.zoo as z": "zoo",
    }
    for text, room in forms.items():
        file = tmp_path / "x.py"
        file.write_text(text)
        assert rooms_imported(file) == {room}


@pytest.mark.parametrize("path", sorted(Path(__file__).parent.glob("*.py")), ids=lambda p: p.name)
def test_no_test_imports_another(path):
    """What tests share stands in modules named ``*_made``."""
    text = path.read_text()
    imported = {module.partition(".")[0] for _, _, module in imports_of(path)}
    # also in the code of other processes, which stands in strings
    assert not {name for name in imported if name.startswith("test_")}
    assert not re.search(r"^\s*(from|import) test_", text, re.MULTILINE)

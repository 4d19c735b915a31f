"""The table that lists the zoo without torch, and the registry behind it."""

import json
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from concord import zoo
from concord.errors import UsageError

ROOT = Path(__file__).parents[1]


def test_table_equals_the_code():
    table = runpy.run_path(str(ROOT / "tools" / "zoo_table.py"))["table"]
    written = (ROOT / "src" / "concord" / "zoo" / "table.json").read_text(encoding="utf-8")
    assert written == table(), "the zoo has changed: run  python tools/zoo_table.py"


def test_stated_counts_are_those_of_the_table():
    assert {row["name"]: row["parameters"] for row in zoo.listing()} == {
        name: zoo.find(name).parameters for name in zoo.names()
    }


def test_listing_needs_no_torch():
    code = (
        "import json, sys; from concord import zoo; "
        "print(json.dumps([zoo.listing(), zoo.names(), 'torch' in sys.modules]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    rows, names, torch_was_imported = json.loads(done.stdout)
    assert rows == list(zoo.listing())
    assert [row["name"] for row in rows] == names
    assert not torch_was_imported


def test_rows_have_the_promised_keys():
    for row in zoo.listing():
        keys = ["name", "module", "input", "parameters", "macs", "receptive_field", "source", "sizes"]
        assert list(row) == keys


def test_unknown_name_is_refused_with_the_nearest_one():
    with pytest.raises(UsageError, match=r"no network 'noel2017_ts' \(did you mean 'noel2017_st'\?\)"):
        zoo.find("noel2017_ts")


def test_a_name_can_be_taken_once_only(monkeypatch):
    from concord.zoo import registry

    monkeypatch.setattr(registry, "ENTRIES", {})
    add = zoo.register(example=(1, 2, 2), parameters=0, source="nobody")

    def nothing(channels=1, classes=2):
        raise NotImplementedError

    assert add(nothing) is nothing
    assert zoo.find("nothing").build is nothing
    assert "nothing" in zoo.names()
    with pytest.raises(UsageError, match="two networks are named 'nothing'"):
        add(nothing)

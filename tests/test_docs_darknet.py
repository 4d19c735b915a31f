"""The page about darknet says what the code does."""

import re

import pytest
from darknet_made import made, tiny_v3
from docs_made import ROOT, blocks

from concord import zoo
from concord.zoo.darknet.keys import KINDS
from concord.zoo.darknet.layers import ACTIVATIONS
from concord.zoo.darknet.weights import written

PAGE = ROOT / "docs" / "darknet.md"


def rows(title):
    text = PAGE.read_text(encoding="utf-8").split(f"## {title}\n")[1].split("\n## ")[0]
    return [
        [cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if "|" in line
    ][2:]


def test_the_example_writes_the_same_bytes(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    network = made(tmp_path, tiny_v3(classes=2), "yolov3-tiny.cfg")
    (tmp_path / "yolov3-tiny.weights").write_bytes(written(network))
    (example,) = blocks(PAGE, "python")
    exec(compile(example, str(PAGE), "exec"), {})
    assert (tmp_path / "again.weights").read_bytes() == (tmp_path / "yolov3-tiny.weights").read_bytes()


@pytest.mark.parametrize("row", rows("The zoo's own"), ids=lambda row: row[0])
def test_parameters_of_the_table_are_those_of_the_zoo(row):
    name, classes = re.fullmatch(r"`([^`]+)`(?:, (\d+) classes)?", row[0]).groups()
    if classes is None:
        assert zoo.find(name).parameters == int(row[2].replace(",", ""))
    else:  # counted in test_zoo_yolo
        assert classes == "20"


def test_sections_keys_and_activations_are_all_listed():
    listed = {}
    for kinds, keys in rows("What a `.cfg` file may hold"):
        for kind in re.findall(r"`(\w+)`", kinds):
            listed[kind] = tuple(re.findall(r"`(\w+)`", keys))
    expected = {kind: set(keys.used) for kind, keys in KINDS.items()}
    expected["maxpool"] -= {"stride_x", "stride_y"}  # which must be equal
    assert {kind: set(keys) for kind, keys in listed.items()} == expected
    assert all(f"`{name}`" in PAGE.read_text(encoding="utf-8") for name in ACTIVATIONS)

"""The benchmark of average precision: its tools agree, and its JSON has the promised rows."""

import json

import numpy as np
import pytest

from concord.bench import precision
from concord.cli import app


def test_every_tool_gives_the_same_twelve_figures(capsys):
    pytest.importorskip("pycocotools", reason="another tool: needs the extra bench")
    pytest.importorskip("faster_coco_eval", reason="another tool: needs the extra bench")
    with pytest.raises(SystemExit, match="0"):
        app.main(["bench", "precision", "--images", "40", "--rounds", "2", "--json"])
    found = json.loads(capsys.readouterr().out)
    assert [row["engine"] for row in found["rows"]] == ["concord", "pycocotools", "faster_coco_eval"]
    assert all(row["largest_difference"] < 1e-12 for row in found["rows"])
    assert all(row["seconds"] == row["loading"] + row["evaluation"] > 0 for row in found["rows"])
    ours, *theirs = (row["seconds"] for row in found["rows"])
    assert found["fastest_over_concord"] == pytest.approx(min(theirs) / ours)
    assert found["detections"] == 800
    assert found["not_installed"] == []


def test_a_tool_that_is_not_installed_is_named(monkeypatch, capsys):
    tools = {"concord": precision.TOOLS["concord"], "no_such_tool": precision.TOOLS["concord"]}
    monkeypatch.setattr(precision, "TOOLS", tools)
    with pytest.raises(SystemExit, match="0"):
        app.main(["bench", "precision", "--images", "5", "--rounds", "1"])
    assert capsys.readouterr().out.splitlines()[-1] == "not installed: pip install no_such_tool"


def test_the_made_set_is_the_same_every_time_and_has_its_numbers():
    predictions, targets = precision.made(200, 20)
    again, _ = precision.made(200, 20)
    assert all(np.array_equal(a["boxes"], b["boxes"]) for a, b in zip(predictions, again, strict=True))
    assert {len(one["labels"]) for one in predictions} == {20}
    assert np.mean([len(one["labels"]) for one in targets]) == pytest.approx(7.2, abs=0.5)
    corners = np.concatenate([one["boxes"] for one in targets])
    assert (corners[:, 2:] > corners[:, :2]).all()
    assert 0 <= corners.min() <= corners.max() <= precision.SIDE

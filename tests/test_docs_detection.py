"""The examples about masks and boxes run, and show what the text says."""

import json
import re
import shlex
import shutil

import pytest
import vision_runs_made as made_of
from docs_made import ROOT, blocks
from run_made import call


def test_the_examples_about_images_with_boxes_run():
    given = {"__name__": "detection"}
    for block in blocks(ROOT / "docs/detection-data.md", "python"):
        exec(compile(block, "docs/detection-data.md", "exec"), given)
    assert given["report"]["ok"]
    assert given["x"].shape == (4, 3, 128, 192)
    assert given["target"]["labels"].shape == given["target"]["crowd"].shape == (4, 1)
    assert len(given["found"].anchors) == 3
    images = json.loads(given["texts"]["detections.json"])
    assert [len(image["boxes"]) for image in images] == [1] * 4
    assert images[0]["boxes"][0]["label"] == "block"


def test_the_examples_about_detection_run():
    given = {"__name__": "detection"}
    for block in blocks(ROOT / "docs/detection.md", "python"):
        exec(compile(block, "docs/detection.md", "exec"), given)
    assert 0 <= given["scores"].ensemble.ap50 <= 1
    assert given["found"]["boxes"].shape == (8, 100, 4)
    assert given["boxes"].task.head.strides == (16, 8)


@pytest.mark.parametrize(("page", "name"), [("segmentation", "tissue"), ("detection", "cells")])
def test_the_commands_about_masks_and_boxes_run(page, name, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write = made_of.masks if page == "segmentation" else made_of.boxes
    write(tmp_path / name)
    write(tmp_path / "other")
    shutil.copytree(tmp_path / "other/images", "new")
    (block,) = blocks(ROOT / f"docs/{page}.md", "console")
    for line in block.splitlines():
        words = shlex.split(line.removeprefix("$ concord "))
        if words[0] == "train":
            words[words.index("--epochs") + 1] = "1"
            words += ["--set", "train.threads=1"]
        status, out, err = call(capsys, *words)
        assert status == 0, (line, out, err)
    rows = json.loads(call(capsys, "predict", f"runs/{name}", "new", "--json")[1])
    assert len(list((tmp_path / "found").iterdir())) == len(rows) > 0
    assert (tmp_path / f"{name}.onnx").is_file()
    listed = re.search(r"the members have `(\{.*?\})`|boxes `(\{.*?\})`", shown_for(page))
    keys = re.findall(r'"(\w+)"', next(filter(None, listed.groups())))
    result = json.loads((tmp_path / f"runs/{name}/result.json").read_text())
    assert all(list(row) == keys for row in result["members"].values())


def shown_for(page):
    """What json.md says of the members of such a run."""
    text = (ROOT / "docs/json.md").read_text()
    start = (
        "Of a run that finds masks the members" if page == "segmentation" else "of one that finds boxes `{"
    )
    return text[text.index(start) :].replace("of one that finds boxes", "boxes", 1)

"""The examples about images with boxes run, and show what the text says."""

import json

from docs_made import ROOT, blocks


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

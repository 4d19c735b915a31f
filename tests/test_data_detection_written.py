"""Detections written as JSON, VOC and COCO, and read back."""

import contextlib
import io
import json

import boxes_made as made
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from concord.data.detection.layout import found
from concord.data.detection.load import Wanted, load
from concord.data.detection.read import listing
from concord.data.detection.written import Detected, of_batch, write
from concord.errors import UsageError

CLASSES = ("cat", "dog")


def detected(
    name="a.png", boxes=((8.5, 4, 24, 20.25), (30, 10, 40, 28)), labels=(1, 0), scores=(0.9, 0.25), id=None
):
    return Detected(
        name,
        (made.WIDTH, made.HEIGHT),
        torch.tensor(boxes).reshape(-1, 4),
        torch.tensor(scores),
        torch.tensor(labels, dtype=torch.int64),
        id,
    )


def test_json_by_hand():
    (text,) = write([detected(), detected("b.png", (), (), ())], CLASSES, "json").values()
    assert json.loads(text) == [
        {
            "file": "a.png",
            "boxes": [
                {"label": "dog", "confidence": 0.9, "box": [8.5, 4, 24, 20.25]},
                {"label": "cat", "confidence": 0.25, "box": [30, 10, 40, 28]},
            ],
        },
        {"file": "b.png", "boxes": []},
    ]


@given(
    st.lists(
        st.tuples(
            st.floats(0, 40), st.floats(0, 24), st.floats(1.5, 8), st.floats(1.5, 8), st.integers(0, 1)
        ),
        max_size=5,
    )
)
@settings(max_examples=30)
def test_voc_files_are_read_back_by_the_reader(tmp_path_factory, rows):
    boxes = [(x, y, x + w, y + h) for x, y, w, h, _ in rows]
    one = detected(boxes=boxes, labels=[k for *_, k in rows], scores=[0.5] * len(rows))
    root = tmp_path_factory.mktemp("voc")
    made.picture(root / "a.png")
    for name, text in write([one], CLASSES, "voc").items():
        (root / name).write_text(text)
    read = listing(root, found(root), CLASSES)
    assert read.faults == ()
    (sample,) = read.parts["train"]
    kept = {
        (k, *(round(v, 3) for v in box))
        for k, box in zip(one.labels.tolist(), one.boxes.tolist(), strict=True)
    }
    again = {
        (k, *(round(v, 3) for v in box))
        for k, box in zip(sample.truth.labels.tolist(), sample.truth.boxes.tolist(), strict=True)
    }
    assert len(again) == len(kept)
    for one_, other in zip(sorted(kept), sorted(again), strict=True):
        assert one_ == pytest.approx(other, abs=2e-3)


def test_coco_results_are_read_by_pycocotools_and_become_the_truth_again(tmp_path):
    peer = pytest.importorskip("pycocotools.coco")
    root = made.coco(tmp_path)
    data = load(Wanted(str(root), size=96, valid=0.0, test=0.0)).train
    index = torch.tensor([1, 0])
    _, target = data.batch(index, None)
    scores = torch.where(target["labels"] >= 0, 0.75, 0.0)
    results = of_batch(data, index, {**target, "scores": scores})
    (text,) = write(results, data.classes, "coco", data.categories).values()
    (tmp_path / "results.json").write_text(text)
    with contextlib.redirect_stdout(io.StringIO()):
        truth = peer.COCO(root / "annotations/instances_train.json")
        loaded = truth.loadRes(str(tmp_path / "results.json"))
    wanted = sorted((a["image_id"], a["category_id"], *map(float, a["bbox"])) for a in truth.anns.values())
    given_ = sorted((a["image_id"], a["category_id"], *a["bbox"]) for a in loaded.anns.values())
    assert len(given_) == 3
    for one, other in zip(wanted, given_, strict=True):
        assert one == pytest.approx(other, abs=1e-3)
    assert {a["score"] for a in loaded.anns.values()} == {0.75}


def test_without_a_coco_file_images_and_classes_are_numbered_from_1():
    (text,) = write(
        [detected(labels=(1, 0)), detected("b.png", ((1, 2, 4, 7),), (0,), (1.0,))], CLASSES, "coco"
    ).values()
    rows = json.loads(text)
    assert [(row["image_id"], row["category_id"]) for row in rows] == [(1, 2), (1, 1), (2, 1)]
    assert rows[2]["bbox"] == [1, 2, 3, 5]


def test_names_cannot_leave_the_folder_and_markup_stays_text():
    one = detected("/etc/../x/<a&b>.png")
    (item,) = write([one], ("a<b", "c\x1b&d"), "voc").items()
    assert item[0] == "<a&b>.xml"
    assert "<name>c\\x1b&amp;d</name>" in item[1]
    assert "<filename>&lt;a&amp;b&gt;.png</filename>" in item[1]


def test_unknown_formats_and_two_images_of_one_name_are_refused():
    with pytest.raises(UsageError, match=r"written as json, voc, coco, got 'vco' \(did you mean 'voc'\?\)"):
        write([], CLASSES, "vco")
    with pytest.raises(UsageError, match="two images are named a, so that their XML files would be one"):
        write([detected("x/a.png"), detected("y/a.jpg")], CLASSES, "voc")

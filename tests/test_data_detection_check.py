"""What ``concord data check`` reports of boxes."""

import json

import boxes_made as made
import pytest
from data_made import write_image

import concord
from concord.cli import app
from concord.data.detection.check import BoxReport, check


def checked(capsys, *arguments):
    with pytest.raises(SystemExit) as left:
        app.main(["data", "check", *map(str, arguments)])
    return left.value.code, capsys.readouterr().out


def test_the_blood_cells_are_counted_and_their_faults_named(tmp_path_factory, capsys):
    root = made.bccd(tmp_path_factory)
    status, out = checked(capsys, root)
    assert status == 0
    lines = [line.replace(str(root), "ROOT") for line in out.splitlines()]
    assert lines[:6] == [
        "ROOT: images with boxes (VOC), usable",
        "train: 205 images, boxes: Platelets 209, RBC 2,381, WBC 214",
        "valid: 87 images, boxes: Platelets 83, RBC 967, WBC 87",
        "test: 72 images, boxes: Platelets 69, RBC 805, WBC 71",
        "images, width x height: 640x480 (364)",
        "boxes, width x height: 19x23 smallest, 103x101 median, 338x251 largest; at most 30 in one image",
    ]
    assert "2 boxes of zero area, left out:" in lines
    assert "  ROOT/BCCD/Annotations/BloodImage_00338.xml, line 163" in lines
    assert "7 pairs of boxes of one class with an IoU above 0.9, likely duplicates:" in lines
    assert not [line for line in lines if line.startswith("note")]


def test_every_fault_is_listed_and_the_status_is_1(tmp_path, capsys):
    boxes = {f"{i:02}": [("cat", 30, 4, 8, 20)] for i in range(12)} | made.BOXES
    root = made.voc(tmp_path, boxes)
    (root / "lost.xml").write_text(made.voc_text([]))
    status, out = checked(capsys, root)
    assert status == 1
    assert out.count("problem: ") == 13
    assert "lost.xml: its image is missing" in out
    given = json.loads(checked(capsys, root, "--json")[1])
    assert (given["ok"], len(given["problems"])) == (False, 13)
    assert given["counts"] == {"train": {"cat": 2, "dog": 1}}


def test_images_that_cannot_be_decoded_and_parts_that_cannot_be_scored_are_problems(tmp_path):
    boxes = dict.fromkeys("abc", made.BOXES["a"]) | {"d": []}
    root = made.devkit(tmp_path, {"train": "ab", "val": "d", "test": "c"}, boxes)
    (problem,) = check(str(root)).problems
    assert "the validation images have no boxes that count" in problem
    file = root / "JPEGImages/a.png"
    file.write_bytes(file.read_bytes()[:-300])
    assert "a.png cannot be decoded" in check(str(root)).problems[0]


def test_boxes_that_overlap_are_pairs_of_one_class(tmp_path):
    # of 20 x 20 boxes moved by 1 the IoU is 380 / 420 = .905, by 2 it is 360 / 440
    boxes = [("cat", 1, 1, 21, 21), ("cat", 2, 1, 22, 21), ("dog", 1, 1, 21, 22), ("cat", 4, 1, 24, 21)]
    report = check(str(made.voc(tmp_path, {"a": boxes, "b": [], "c": made.BOXES["a"]})))
    assert report.overlapping.examples == ("a.png: cat (1, 1, 21, 21) and (2, 1, 22, 21)",)
    assert report.overlapping.count == 1
    assert report.without_boxes == {"train": 1}
    assert report.most_boxes == 4
    assert report.boxes["largest"] == (20, 21)


def test_copies_of_images_and_suspicious_classes_are_noted(tmp_path):
    boxes = {name: [("Cat", 1, 1, 9, 9)] for name in "abcde"}
    root = made.devkit(tmp_path, {"train": "abc", "val": "e", "test": "d"}, boxes)
    for copy in ("c", "d"):
        (root / "JPEGImages" / f"{copy}.png").write_bytes((root / "JPEGImages/a.png").read_bytes())
    (root / "classes.txt").write_text("cat\nCat\nbird\n")
    notices = concord.data_check(root)["notices"]
    assert "1 image there twice in train, such as JPEGImages/c.png = JPEGImages/a.png" in notices
    assert "1 image of test in train too, such as JPEGImages/d.png = JPEGImages/a.png" in notices
    assert "the classes 'cat' and 'Cat' differ in case or spaces only; they are kept apart" in notices
    assert "test has no box of 'cat', 'bird'" in notices


def test_the_parts_that_training_would_cut_off_are_shown(tmp_path):
    root = made.voc(tmp_path, {f"{i:02}": [("cat", 1, 2, 9, 9)] for i in range(20)})
    report = check(str(root))
    assert report.images == {"train": 20}
    assert report.split == {"train": 14, "valid": 2, "test": 4}
    assert "split: train 14, valid 2, test 4" in list(report.lines())


def test_a_damaged_set_is_a_problem_and_no_line_holds_a_control_character(tmp_path):
    root = made.coco(tmp_path)
    (root / "annotations/instances_train.json").write_text(
        '{"images": 1, "annotations": [], "categories": []}'
    )
    (problem,) = check(str(root)).problems
    assert "the list images is missing" in problem
    root = made.voc(tmp_path / "other\x1b", {"a": [("c\x7ft", 1, 2, 9, 9)]})
    lines = list(check(str(root)).lines())
    assert all(line.isprintable() for line in lines)
    assert any("c\\x7ft 1" in line for line in lines)


def test_folders_of_classes_are_checked_as_before(tmp_path, capsys):
    for name in ("cat", "dog"):
        for i in range(5):
            write_image(tmp_path / name / f"{i}.png", 20 * i)
    status, out = checked(capsys, tmp_path)
    assert "class folders" in out or "10 images (cat 5, dog 5)" in out
    assert not isinstance(concord.data_check(tmp_path).get("zero_area"), dict)
    assert status == 0
    assert BoxReport("x").ok

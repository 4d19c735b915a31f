"""Boxes from VOC, YOLO and COCO files: one content, every layout, and what is refused with file and line."""

import contextlib
import io
import json
import shutil

import boxes_made as made
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from concord.data.detection import coco, voc, yolo
from concord.data.detection.layout import found, recognised
from concord.data.detection.load import Wanted, load
from concord.data.detection.read import alike, listing
from concord.data.detection.yolo_table import table
from concord.errors import DataError, MissingDataError


def read(root, classes=None):
    return listing(root, found(root), classes)


def content(listed, part="train"):
    """Stem -> sorted (class, corners) of its image."""
    return {
        sample.image.stem: sorted(
            (listed.classes[k], *map(float, box))
            for k, box in zip(sample.truth.labels.tolist(), sample.truth.boxes.tolist(), strict=True)
        )
        for sample in listed.parts[part]
    }


def truth():
    return {
        name: sorted((label, *map(float, box)) for label, *box in rows) for name, rows in made.BOXES.items()
    }


def rounded(found):
    return {
        name: [(label, *(round(value, 4) for value in box)) for label, *box in rows]
        for name, rows in found.items()
    }


@pytest.mark.parametrize(("write", "format"), [(made.voc, "VOC"), (made.yolo, "YOLO"), (made.coco, "COCO")])
def test_one_content_is_read_from_every_format(write, format, tmp_path):
    listed = read(write(tmp_path / "set"))
    assert listed.format == format
    assert listed.classes == ("cat", "dog")
    assert rounded(content(listed)) == truth()
    assert listed.faults == ()


def test_the_blood_cells_are_read_with_their_own_parts(tmp_path_factory):
    listed = read(made.bccd(tmp_path_factory))
    assert {part: len(samples) for part, samples in listed.parts.items()} == {
        "train": 205,
        "valid": 87,
        "test": 72,
    }
    labels = [
        listed.classes[k] for part in listed.parts.values() for s in part for k in s.truth.labels.tolist()
    ]
    counts = {name: labels.count(name) for name in listed.classes}
    assert counts == {"Platelets": 361, "RBC": 4155 - 2, "WBC": 372}
    assert listed.faults == ()
    assert sorted(place.partition("BloodImage_")[2][:9] for place in listed.dropped.empty) == [
        "00338.xml",
        "00343.xml",
    ]
    (notice,) = listed.notices
    assert notice.startswith("2 boxes of zero area left out: ")


def test_coco_boxes_are_those_of_pycocotools(tmp_path):
    peer = pytest.importorskip("pycocotools.coco")
    content_ = made.coco_content()
    content_["annotations"][0]["iscrowd"] = 1
    root = made.coco(tmp_path, content_)
    with contextlib.redirect_stdout(io.StringIO()):
        other = peer.COCO(root / "annotations/instances_train.json")
    listed = read(root)
    names = {entry["id"]: entry["name"] for entry in other.loadCats(other.getCatIds())}
    assert (listed.categories, listed.classes) == (tuple(names), tuple(names.values()))
    for sample in listed.parts["train"]:
        rows = other.loadAnns(other.getAnnIds(imgIds=[sample.id]))
        x, y, w, h = zip(*(row["bbox"] for row in rows), strict=True)
        assert sample.truth.boxes.T.tolist() == [
            list(x),
            list(y),
            [a + b for a, b in zip(x, w, strict=True)],
            [a + b for a, b in zip(y, h, strict=True)],
        ]
        assert [names[row["category_id"]] for row in rows] == [listed.classes[k] for k in sample.truth.labels]
        assert [bool(row["iscrowd"]) for row in rows] == sample.truth.crowd.tolist()


# layouts


def test_lists_of_voc_make_the_parts_and_trainval_is_a_training_list_where_train_is_missing(tmp_path):
    root = made.devkit(tmp_path / "x", {"train": "a", "val": "b", "trainval": "ab", "cat_train": "ab"})
    assert {part: list(content(read(root), part)) for part in ("train", "valid")} == {
        "train": ["a"],
        "valid": ["b"],
    }
    root = made.devkit(tmp_path / "y", {"trainval": ["a 1", "b -1"]})
    assert list(content(read(root))) == ["a", "b"]


def test_a_folder_around_the_set_is_looked_through(tmp_path):
    made.devkit(tmp_path / "outer/VOCdevkit/VOC2007", {"train": "ab"})
    assert content(read(tmp_path / "outer")) == truth()


def test_parts_of_yolo_are_folders_above_or_below_images_lists_or_those_of_the_table(tmp_path):
    flat = made.yolo(tmp_path / "flat")
    for way in ("images/train", "train/images"):
        root = tmp_path / way.replace("/", "-")
        labels = way.replace("images", "labels")
        shutil.copytree(flat / "images", root / way)
        shutil.copytree(flat / "labels", root / labels)
        shutil.copytree(flat / "images", root / way.replace("train", "val"))
        shutil.copytree(flat / "labels", root / labels.replace("train", "val"))
        (root / "data.yml").write_text("nc: 2  # classes\nnames: ['cat', \"dog\"]\n")
        assert rounded(content(read(root))) == rounded(content(read(root), "valid")) == truth()
        assert read(root).notices == ()
    (flat / "train.txt").write_text("images/a.png\n")
    (flat / "test.txt").write_text("images/b.png\n")
    assert {part: list(content(read(flat), part)) for part in ("train", "test")} == {
        "train": ["a"],
        "test": ["b"],
    }
    (flat / "data.yaml").write_text("train: test.txt\nval: ../images\nnames:\n  0: kitten\n  1: 'dog''s'\n")
    listed = read(flat / "data.yaml")
    assert listed.classes == ("kitten", "dog's")
    assert (list(content(listed)), list(content(listed, "valid"))) == (["b"], ["a", "b"])


def test_a_coco_file_lies_above_its_images_among_them_or_is_given_by_itself(tmp_path):
    root = made.coco(tmp_path / "x")
    for way in ("train2017", "images/train"):
        (root / "images").rename(root / "moved")
        shutil.copytree(root / "moved", root / way)
        assert content(read(root)) == truth(), way
        shutil.rmtree(root / way.partition("/")[0])
        (root / "moved").rename(root / "images")
    shutil.copytree(root / "images", tmp_path / "y/train")
    shutil.copy(root / "annotations/instances_train.json", tmp_path / "y/train/_annotations.coco.json")
    assert (
        content(read(tmp_path / "y")) == content(read(tmp_path / "y/train/_annotations.coco.json")) == truth()
    )


def test_folders_of_classes_and_other_paths_are_not_taken_for_boxes(tmp_path):
    made.picture(tmp_path / "classes/train/cat/1.png")
    made.picture(tmp_path / "classes/train/dog/1.png")
    (tmp_path / "classes/about.json").write_text("{}")
    (tmp_path / "classes/readme.txt").write_text("animals")
    assert not recognised(tmp_path / "classes")
    assert not recognised(tmp_path / "nothing")
    assert recognised(made.voc(tmp_path / "voc"))
    with pytest.raises(
        DataError, match=r"no annotations of boxes that are recognised; expected VOC .*YOLO .*COCO"
    ):
        found(tmp_path / "classes")
    with pytest.raises(MissingDataError, match="does not exist; expected VOC"):
        found(tmp_path / "nothing")


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("names: [a b, 'c, d', \"e\"]  # three\n", ("a b", "c, d", "e")),
        ("names:\n- a\n- b\nnc: 2\n", ("a", "b")),
        ("names: {0: a, 1: b}\n", ("a", "b")),
        ("names: [\n  'a#1',\n  b]\ntrain: x\n", ("a#1", "b")),
        ("train: x\ndownload: |\n  unzip a: b\n", None),
    ],
)
def test_names_in_a_table_may_be_written_in_every_usual_way(text, names, tmp_path):
    (tmp_path / "data.yaml").write_text(text)
    assert table(tmp_path / "data.yaml").classes == names


# faults


def faults(root):
    """What a listing finds wrong, without the folder."""
    return [text.replace(f"{root}/", "") for text in read(root).faults]


@pytest.mark.parametrize(
    ("box", "message"),
    [
        (
            ("cat", 30, 4, 8, 20),
            "a.xml, line 6: the box (30, 4, 8, 20) is in the wrong order: xmax 8 is below xmin 30",
        ),
        (("cat", 3, 24, 8, 20), "the box (3, 24, 8, 20) is in the wrong order: ymax 20 is below ymin 24"),
        (("cat", 50, 4, 60, 20), "the box (50, 4, 60, 20) lies outside the image of 48x32 pixels"),
        (("cat", -9, 4, -2, 20), "the box (-9, 4, -2, 20) lies outside the image of 48x32 pixels"),
        (("cat", 0.1, 0.2, 0.5, 0.9), "the box (0.1, 0.2, 0.5, 0.9) seems to be in fractions of the image"),
        (("cat", "nan", 2, 9, 9), "the box (nan, 2, 9, 9) holds a number that is not finite"),
        (("cat", "1e999", 2, 9, 9), "the box (inf, 2, 9, 9) holds a number that is not finite"),
        (("cat", "ten", 2, 9, 9), "a.xml, line 6: <xmin> must be a number, got 'ten'"),
        (("", 1, 2, 9, 9), "a.xml, line 3: <name> of the object is missing or empty"),
    ],
)
def test_wrong_boxes_of_voc_are_faults_with_file_and_line(box, message, tmp_path):
    (fault,) = faults(made.voc(tmp_path, {"a": [box], "b": made.BOXES["b"]}))
    assert message in fault


def test_wrong_files_of_voc_are_faults(tmp_path):
    made.voc(tmp_path)
    for name, text, message in (
        ("c", "<annotation><object>", "c.xml, line 1: not valid XML (no element found)"),
        ("d", '<!DOCTYPE a [<!ENTITY b "c">]><annotation/>', "d.xml, line 1: document types are not read"),
        ("e", "<html/>", "e.xml, line 1: expected <annotation>, got <html>"),
        ("f", "<a>" * 40, "f.xml, line 1: more than 20 elements within each other"),
        (
            "g",
            made.voc_text([], size=(640, 480)),
            "g.xml, line 2: the annotation is for an image of 640x480 pixels",
        ),
        (
            "h",
            "<annotation><object><name>x</name></object></annotation>",
            "h.xml, line 1: <bndbox> of the object",
        ),
    ):
        made.picture(tmp_path / f"{name}.png")
        (tmp_path / f"{name}.xml").write_text(text)
        assert any(message in fault for fault in faults(tmp_path)), name
    (tmp_path / "i.xml").write_text(made.voc_text([]))
    assert "i.xml: its image is missing; expected an image of the name i" in faults(tmp_path)
    (tmp_path / "c.png").write_bytes(b"")
    assert any("c.png is empty (0 bytes)" in fault for fault in faults(tmp_path))
    with pytest.raises(DataError) as error:
        load(Wanted(str(tmp_path)))
    assert "concord data check" in str(error.value)


def test_difficult_objects_of_voc_are_marked(tmp_path):
    root = made.voc(tmp_path)
    text = (root / "a.xml").read_text()
    (root / "a.xml").write_text(text.replace("<difficult>0", "<difficult>1", 1))
    assert [sample.truth.difficult.tolist() for sample in read(root).parts["train"]] == [
        [True, False],
        [False],
    ]


def test_an_unknown_size_in_an_annotation_and_parts_of_an_object_are_passed_over(tmp_path):
    part = "<part><name>head</name><bndbox><xmin>9</xmin></bndbox></part>\n"
    made.voc(tmp_path, size=(0, 0), extra=part)
    assert content(read(tmp_path)) == truth()


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("0 16 12 16 16", "line 2: coordinates (16, 12, 16, 16) seem to be pixels, expected fractions"),
        ("0 .5 .5 .1", "line 2: expected 5 numbers (class, x, y, width, height), got 4"),
        ("0 .5 .5 .1 .1 .2 .2 .3 .3", "got 9, as polygons have them: boxes are expected"),
        ("0 .5 x .1 .1", "line 2: a coordinate must be a number, got 'x'"),
        ("0 .5 -.2 .1 .1", "line 2: coordinates must be finite and 0 or more, got (0.5, -0.2, 0.1, 0.1)"),
        ("0 .5 nan .1 .1", "line 2: coordinates must be finite and 0 or more"),
        ("2 .5 .5 .1 .1", "line 2: class 2 is unknown; the table names 2 classes, 0 to 1"),
        ("cat .5 .5 .1 .1", "line 2: the class must be a whole number, got 'cat'"),
        ("\x1b[2J .5 .5 .1 .1", "got '\\\\x1b[2J'"),
    ],
)
def test_wrong_lines_of_yolo_are_faults_with_file_and_line(line, message, tmp_path):
    found_ = faults(made.yolo(tmp_path, lines=f"0 .5 .5 .2 .2\n{line}\n"))
    assert [text for text in found_ if message in text] == found_ != []


def test_wrong_entries_of_coco_are_faults_with_their_place(tmp_path):
    content_ = made.coco_content()
    good = content_["annotations"][0]
    wrong = {
        "image_id 99 is not among the images": {"image_id": 99},
        "category_id 1 is not among the categories": {"category_id": 1},
        "bbox must be 4 numbers": {"bbox": [1, 2, 3]},
        "category_id must be a whole number, got 'cat'": {"category_id": "cat"},
        "must be 0 or more; expected x, y, width, height": {"bbox": [9, 9, -3, 4]},
        "seems to be in fractions": {"bbox": [0.1, 0.1, 0.5, 0.5]},
    }
    content_["annotations"] = [{**good, **change} for change in wrong.values()]
    found_ = faults(made.coco(tmp_path / "x", content_))
    for place, (message, text) in enumerate(zip(wrong, found_, strict=True)):
        assert message in text
        assert f"instances_train.json: annotations[{place}]" in text
    content_ = made.coco_content()
    content_["images"][1] |= {"width": 480, "height": 320}
    content_["images"].append({"id": 5, "file_name": "away.png", "width": 1, "height": 1})
    missing, size = faults(made.coco(tmp_path / "y", content_))
    assert "1 image missing, such as" in missing
    assert "images[1]: the entry is for an image of 480x320 pixels, the image has 48x32" in size


def test_a_coco_file_that_is_damaged_or_lacks_a_list_is_named(tmp_path):
    root = made.coco(tmp_path, made.coco_content())
    (file,) = tmp_path.rglob("*.json")
    whole = file.read_text()
    file.write_text(whole[:60])
    with pytest.raises(DataError, match=r"instances_train\.json, line 1: not valid JSON"):
        found(root)
    file.write_text(whole.replace('"categories"', '"kinds"'))
    with pytest.raises(DataError, match=r"instances_train\.json lacks the list categories\)"):
        found(root)


def test_two_coco_files_of_one_part_are_refused(tmp_path):
    root = made.coco(tmp_path, made.coco_content())
    (file,) = tmp_path.rglob("*.json")
    shutil.copy(file, file.with_name("instances_train2014.json"))
    with pytest.raises(DataError, match=r"train\.json and .*train2014\.json are annotations of one part"):
        found(root)


def test_a_class_that_stands_twice_in_a_table_is_a_fault(tmp_path):
    root = made.yolo(tmp_path)
    (root / "classes.txt").write_text("cat\ncat\n")
    assert any("the class 'cat' stands twice in its table" in fault for fault in read(root).faults)


def test_files_without_an_image_and_images_without_a_file_are_reported(tmp_path):
    root = made.yolo(tmp_path)
    (root / "labels/lost.txt").write_text("0 .5 .5 .2 .2\n")
    made.picture(root / "images/bare.png")
    listed = read(root)
    assert faults(root) == ["labels/lost.txt: its image is missing; expected an image of the name lost"]
    assert listed.notices == (
        "1 image without a label file, such as bare.png, taken as images without objects",
    )
    assert content(listed)["bare"] == []


def test_boxes_of_zero_area_beyond_the_edge_and_twice_there_are_put_right_with_a_notice(tmp_path):
    twice = [("dog", 1, 2, 9, 9), ("dog", 1, 2, 9, 9), ("cat", 1, 2, 9, 9)]
    listed = read(made.voc(tmp_path, {"a": [("cat", 9, 9, 9, 20), ("cat", 40, -4, 60, 20), *twice]}))
    assert content(listed) == {"a": [("cat", 1, 2, 9, 9), ("cat", 40, 0, 48, 20), ("dog", 1, 2, 9, 9)]}
    assert [text.partition(":")[0] for text in listed.notices] == [
        "1 box of zero area left out",
        "1 box beyond the edge of its image clipped",
        "1 box equal to another of the same image left out",
    ]


def test_classes_outside_those_given_are_refused_with_the_nearest_and_the_order_given_counts(tmp_path):
    root = made.voc(tmp_path, {"a": [("cat", 1, 2, 9, 9), ("dgo", 3, 2, 9, 9)]})
    listed = read(root, ("dog", "cat"))
    assert listed.classes == ("dog", "cat")
    assert listed.parts["train"][0].truth.labels.tolist() == [1]
    (fault,) = listed.faults
    assert "class 'dgo' is not among the classes (dog, cat) (did you mean 'dog'?)" in fault


def test_classes_that_differ_in_case_or_spaces_only_are_noticed(tmp_path):
    assert alike(["red cell", "Redcell", "red-cell", "blue"]) == [("red cell", "Redcell", "red-cell")]
    root = made.voc(tmp_path, {"a": [("cat", 1, 2, 9, 9), ("Cat", 3, 2, 9, 9)]})
    assert read(root).notices == (
        "the classes 'Cat' and 'cat' differ in case or spaces only; they are kept apart",
    )


# damage


def damaged(content, data):
    """Some bytes replaced, removed or repeated."""
    at = data.draw(st.integers(0, len(content)))
    upto = data.draw(st.integers(at, min(len(content), at + 12)))
    return (
        content[:at]
        + data.draw(st.binary(max_size=6) | st.sampled_from([b"\0", b"9" * 500, b"[" * 2000]))
        + content[upto:]
    )


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    home = tmp_path_factory.mktemp("whole")
    made.voc(home / "voc")
    made.yolo(home / "yolo")
    (home / "yolo/data.yaml").write_text("path: .\ntrain: images\nnames: {0: cat, 1: dog}\n")
    made.coco(home / "coco")
    return home


@pytest.mark.parametrize(
    "file", ["voc/a.xml", "yolo/labels/a.txt", "yolo/data.yaml", "coco/annotations/instances_train.json"]
)
@given(data=st.data())
@settings(max_examples=60)
def test_any_damage_of_a_file_is_a_data_error(file, data, whole):
    path = whole / file
    before = path.read_bytes()
    try:
        path.write_bytes(damaged(before, data))
        with contextlib.suppress(DataError):
            read(whole / file.partition("/")[0])
    finally:
        path.write_bytes(before)


LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3)
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
)


@given(data=st.data())
@settings(max_examples=100)
def test_any_value_at_any_place_of_a_coco_file_is_a_data_error_or_read(data, whole):
    content_ = made.coco_content()
    key = data.draw(st.sampled_from(list(content_)))
    entry = data.draw(st.integers(0, len(content_[key]) - 1))
    field = data.draw(st.sampled_from(sorted(content_[key][entry])))
    content_[key][entry][field] = data.draw(VALUES)
    path = whole / "coco/annotations/instances_train.json"
    before = path.read_bytes()
    try:
        path.write_text(json.dumps(content_))
        with contextlib.suppress(DataError):
            read(whole / "coco")
    finally:
        path.write_bytes(before)


@given(st.lists(st.tuples(*[st.integers(0, 40)] * 2, *[st.integers(1, 8)] * 2), max_size=4, unique=True))
@settings(max_examples=40)
def test_any_boxes_are_the_same_in_every_format(tmp_path_factory, boxes):
    rows = {"a": [("dog", x, y % 20, x + w, y % 20 + h) for x, y, w, h in boxes]}
    root = tmp_path_factory.mktemp("any")
    made.voc(root / "voc", rows)
    made.picture(root / "yolo/images/a.png")
    (root / "yolo/labels").mkdir()
    (root / "yolo/labels/a.txt").write_text("".join(made.yolo_line(*row) for row in rows["a"]))
    (root / "yolo/classes.txt").write_text("cat\ndog\n")
    made.picture(root / "coco/images/a.png")
    (root / "coco/all.json").write_text(json.dumps(made.coco_content(rows)))
    first, *others = (rounded(content(read(root / name, ("cat", "dog")))) for name in ("voc", "yolo", "coco"))
    assert others == [first] * 2
    assert len(first["a"]) == len(set(rows["a"]))


def test_readers_leave_other_folders_to_each_other(tmp_path):
    made.voc(tmp_path / "voc")
    made.yolo(tmp_path / "yolo")
    made.coco(tmp_path / "coco")
    takes = {
        (reader.__name__.rpartition(".")[2], name)
        for reader in (voc, yolo, coco)
        for name in ("voc", "yolo", "coco")
        if reader.find(tmp_path / name) is not None
    }
    assert takes == {("voc", "voc"), ("yolo", "yolo"), ("coco", "coco")}

"""Run-length encoding, polygons and COCO's JSON, beside pycocotools."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from masks_made import coco, folder
from pycocotools import mask as reference
from run_made import call

import concord
from concord.data.segmentation import coco as reader
from concord.data.segmentation import polygons, rle
from concord.data.segmentation.load import Wanted, load, refuse
from concord.data.segmentation.read import read
from concord.data.segmentation.table import Table
from concord.errors import DataError, UsageError

MASKS = arrays(bool, array_shapes(min_dims=2, max_dims=2, max_side=12))


def test_runs_go_down_the_columns_and_begin_with_zeros():
    mask = np.array([[1, 0, 0], [1, 0, 1]], bool)
    assert rle.encode(mask) == [0, 2, 3, 1]
    assert rle.to_text([0, 2, 3, 1]) == "023O"  # 1 - 2 = -1 is the five bits 11111, 31 + 48 is O
    assert rle.to_text([40, 1]) == "X11"  # 40 = 8 + 32, and 8 + 32 for "more follows" is X


@given(mask=MASKS)
def test_masks_come_back_from_runs_and_from_text_as_pycocotools_writes_it(mask):
    theirs = reference.encode(np.asfortranarray(mask.astype(np.uint8)))["counts"].decode()
    runs = rle.encode(mask)
    assert rle.to_text(runs) == theirs
    assert rle.from_text(theirs) == runs
    assert (rle.decode(runs, mask.shape) == mask).all()


@given(runs=st.lists(st.integers(0, 2**40), max_size=9))
def test_runs_of_any_length_come_back_from_text(runs):
    assert rle.from_text(rle.to_text(runs)) == runs


@pytest.mark.parametrize(
    ("text", "said"), [("0a\x1f", "character 2"), ("0P", "end within a number"), ("o" * 20, "character 12")]
)
def test_text_that_is_no_runs_is_refused(text, said):
    with pytest.raises(ValueError, match=said):
        rle.from_text(text)


@pytest.mark.parametrize("runs", [[5], [3, 4], [-1, 7]])
def test_runs_that_do_not_fill_the_mask_are_refused(runs):
    with pytest.raises(ValueError, match=r"add up to|runs hold -1"):
        rle.decode(runs, (2, 3))


def test_a_triangle_by_hand():
    # right angle at (0, 0), legs of 4 and 3 pixels: x / 4 + y / 3 < 1 at the centres of the pixels inside
    inside = polygons.filled([np.array([0.0, 0, 4, 0, 0, 3])], (3, 5))
    y, x = np.mgrid[:3, :5] + 0.5
    assert (inside == (x / 4 + y / 3 < 1)).all()
    assert inside.sum(1).tolist() == [3, 2, 1]


@settings(max_examples=200, deadline=None)
@given(
    corners=st.lists(st.integers(-80, 160), min_size=6, max_size=16).filter(lambda c: len(c) % 2 == 0),
    shift=st.sampled_from([0.0, 0.1, 0.25, 1 / 3]),
    size=st.tuples(st.integers(1, 30), st.integers(1, 30)),
)
def test_polygons_have_the_pixels_of_pycocotools(corners, shift, size):
    polygon = np.array(corners) / 4 + shift
    theirs = reference.frPyObjects([polygon.tolist()], *size)[0]["counts"].decode()
    assert (polygons.filled([polygon], size) == rle.decode(rle.from_text(theirs), size)).all()


def square(x, y, side):
    return [x, y, x + side, y, x + side, y + side, x, y + side]


def annotation(segmentation, category=7, number=1, **more):
    return {
        "id": number,
        "image_id": 1,
        "category_id": category,
        "segmentation": segmentation,
        "iscrowd": 0,
        **more,
    }


def drawn(path):
    pairs, classes = reader.in_file(path)
    return pairs[0].truth.read(50).codes, classes


def test_the_smaller_object_is_in_front_and_classes_follow_the_ids(tmp_path):
    small, large = annotation([square(2, 3, 4)], 7), annotation([square(0, 0, 10)], 3, 2)
    for order in ([small, large], [large, small]):
        codes, classes = drawn(coco(tmp_path / "a.json", order))
        assert classes == ("background", "dog", "cat")
        assert (codes[3:7, 2:6] == 2).all()
        assert np.bincount(codes.ravel()).tolist() == [12 * 16 - 100, 100 - 16, 16]


def test_runs_as_text_and_as_numbers_and_polygons_are_one_region(tmp_path):
    mask = np.zeros((12, 16), bool)
    mask[2:7, 1:4] = True
    runs = rle.encode(mask)
    ways = [
        {"size": [12, 16], "counts": runs},
        {"size": [12, 16], "counts": rle.to_text(runs)},
        [[1, 2, 4, 2, 4, 7, 1, 7]],
        [[1, 2, 2, 2, 2, 7, 1, 7], [2, 2, 4, 2, 4, 7, 2, 7]],  # in two pieces
    ]
    for way in ways:
        codes, _ = drawn(coco(tmp_path / "a.json", [annotation(way)]))
        assert ((codes == 2) == mask).all()


REFUSED = {
    "has no segmentation": annotation([]),
    "3 or more corners": annotation([[1, 2, 3, 4]]),
    "3 or more corners x, y; got 7": annotation([[1, 2, 3, 4, 5, 6, 7]]),
    "number that is too large": annotation([[1, 2, 3, 4, 5, 10**400]]),
    "seems to be in fractions": annotation([[0.1, 0.1, 0.5, 0.1, 0.5, 1]]),
    "outside the image of 16x12": annotation([[16, 2, 20, 2, 20, 9]]),
    "list of numbers": annotation([["1", "2", "3", "4", "5", "6"]]),
    "of size 5": annotation({"size": 5, "counts": [192]}),
    "more than 160 pixels away": annotation([[1, 2, 3, 4, 5, 1e6]]),
    "numbers x, y": annotation([[1, 2, 3, 4, 5, "x"]]),
    "of size": annotation({"size": [16, 12], "counts": [192]}),
    "not compressed RLE": annotation({"size": [12, 16], "counts": "\x01"}),
    "list of whole numbers": annotation({"size": [12, 16], "counts": [191.5, 0.5]}),
    "category 9, which the file does not list": annotation([square(0, 0, 3)], 9),
    "image 5, which the file does not list": annotation([square(0, 0, 3)], image_id=5),
    "category_id must be a whole number": annotation([square(0, 0, 3)], "cat"),
}


@pytest.mark.parametrize("said", REFUSED)
def test_annotations_that_cannot_be_drawn_are_refused_by_their_number(said, tmp_path):
    coco(tmp_path / "a.json", [annotation([square(1, 1, 3)], number=4), REFUSED[said]])
    with pytest.raises(DataError, match=rf"(?s)a\.json.*annotations\[1\].*{said}"):
        read(tmp_path)


def test_runs_that_do_not_fill_their_image_are_refused_with_the_annotation(tmp_path):
    coco(tmp_path / "a.json", [annotation({"size": [12, 16], "counts": [100, 20]})])
    found = read(tmp_path)
    with pytest.raises(DataError, match=r"annotations\[0\]: its runs add up to 120, expected 12 x 16"):
        refuse(str(tmp_path), found)


def test_images_lie_where_coco_has_them_too(tmp_path):
    (tmp_path / "annotations").mkdir()
    path = coco(tmp_path / "annotations" / "instances_val.json", [annotation([square(0, 0, 3)])])
    (tmp_path / "annotations" / "images").rename(tmp_path / "val")
    pairs, _ = reader.in_file(path)
    assert pairs[0].image.path == tmp_path / "val" / "a.png"


def test_other_categories_than_those_of_the_training_are_refused(tmp_path):
    coco(tmp_path / "a.json", [annotation([square(0, 0, 3)])])
    known = Table(("background", "cat", "dog"), ((0, 0), (1, 1), (2, 2)))
    with pytest.raises(
        DataError, match="has the classes background, dog, cat; the training had background, cat"
    ):
        read(tmp_path, known=known)


def test_two_images_of_one_number_are_refused(tmp_path):
    path = coco(tmp_path / "a.json", [annotation([square(0, 0, 3)])], images=("a.png", "b.png"))
    path.write_text(path.read_text().replace('"id": 2', '"id": 1'))
    with pytest.raises(DataError, match=r"a\.json: images\[1\]: the image 1 stands there twice"):
        read(tmp_path)


def test_an_image_that_is_too_large_is_refused_before_it_is_drawn():
    with pytest.raises(DataError, match="image 1 is 60000x50000: more than 50 megapixels"):
        reader.Regions("image 1", (50000, 60000), []).read(50)


def test_categories_are_needed_and_differ(tmp_path):
    for categories, said in (
        ([{"id": 1, "name": "background"}], "lists no categories"),
        ([{"id": 1, "name": "a"}, {"id": 1, "name": "b"}], "stands there twice"),
        ([{"id": 1, "name": "a"}, {"id": 2, "name": "a"}], "stands there twice"),
    ):
        with pytest.raises(DataError, match=said):
            reader.in_file(coco(tmp_path / "a.json", [], categories=categories))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[", "line 1: not valid JSON"),
        ('{"images": NaN}', "NaN is not a number of JSON"),
        ("[" * 100_000, "nested too deeply"),
        ("[]", "expected an object with images"),
        ('{"images": [1]}', "list categories is missing"),
    ],
)
def test_what_is_not_coco_is_refused(text, said, tmp_path):
    folder(tmp_path, "a")
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(DataError, match=said):
        read(tmp_path / "a.json")


def test_a_folder_of_images_with_a_json_file_is_loaded(tmp_path):
    names = [f"{i}.png" for i in range(4)]
    regions = [annotation([square(i, i, 4)], number=i, image_id=i) for i in range(1, 5)]
    coco(tmp_path / "all.json", regions, images=names)
    parts = load(Wanted(str(tmp_path), test="3", valid=0))
    assert parts.test.name(0).endswith("images/3.png")
    assert parts.known.table.classes == ("background", "dog", "cat")
    assert "no pixel of dog" in parts.notices[0]


def test_a_coco_file_is_checked_as_masks_or_as_boxes_as_the_task_says(tmp_path, capsys):
    names = [f"{i}.png" for i in range(4)]
    regions = [annotation([square(i, i, 4)], number=i, image_id=i, bbox=[i, i, 4, 4]) for i in range(1, 5)]
    coco(tmp_path / "all.json", regions, images=names)
    masks, boxes = (concord.data_check(tmp_path, task=task) for task in ("segment", "detect"))
    assert masks["pixels"]["train"] == {"background": 4 * 12 * 16 - 64, "dog": 0, "cat": 64}
    assert boxes["counts"]["train"] == {"cat": 4, "dog": 0}
    assert concord.data_check(tmp_path) == boxes
    with pytest.raises(UsageError, match="did you mean 'segment'"):
        concord.data_check(tmp_path, task="segmnt")
    status, out, _ = call(capsys, "data", "check", tmp_path, "--task", "segment")
    assert (status, "pixels background" in out) == (0, True)

"""Anchors: k-means with 1 - IoU by hand, its known figures on the blood cells, the verb, page and figure."""

import json

import boxes_made as made
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import pad
from torchvision.ops import box_iou

import concord
from concord.cli import app
from concord.data.detection.anchors import anchors, curve, iou
from concord.data.detection.layout import found
from concord.data.detection.read import listing, sides
from concord.data.detection.suggest import suggested
from concord.errors import DataError, ShapeError, UsageError
from concord.report.anchors_page import anchors_figure, anchors_page

BOXES = torch.tensor([[110.0, 60.0], [10.0, 12.0], [100.0, 50.0], [14.0, 12.0]])
SIDES = st.lists(st.tuples(st.integers(1, 300), st.integers(1, 300)), min_size=1, max_size=12)


@pytest.fixture(scope="module")
def cells(tmp_path_factory):
    """Widths and heights of all boxes."""
    root = made.bccd(tmp_path_factory)
    parts = listing(root, found(root)).parts
    return sides([sample for part in parts.values() for sample in part])


def test_iou_by_hand():
    # shared 10 x 8 = 80; union 10 * 20 + 25 * 8 - 80 = 320
    assert iou(torch.tensor([[10.0, 20.0]]), torch.tensor([[25.0, 8.0]])).tolist() == [[0.25]]


@given(SIDES, SIDES)
def test_iou_is_torchvisions_of_boxes_on_one_corner(first, second):
    a, b = torch.tensor(first).double(), torch.tensor(second).double()
    assert torch.allclose(iou(a, b), box_iou(pad(a, (2, 0)), pad(b, (2, 0))))


def test_two_clusters_by_hand():
    best = anchors(BOXES, 2)
    assert best.sides == ((12, 12), (105, 55))
    each = (120 / 144, 144 / 168, 5000 / 5775, 5775 / 6600)
    assert best.mean_iou == pytest.approx(sum(each) / 4)


def test_the_median_is_not_moved_by_one_long_box():
    boxes = torch.tensor([[10.0, 30.0], [12.0, 32.0], [60.0, 38.0]])
    assert anchors(boxes, 1).sides == ((pytest.approx(82 / 3), pytest.approx(100 / 3)),)
    assert anchors(boxes, 1, centre="median").sides == ((12, 32),)


@pytest.mark.parametrize(("k", "mean_iou"), [(3, 0.802), (5, 0.847), (6, 0.859), (9, 0.879)])
def test_the_figures_of_the_blood_cells(k, mean_iou, cells):
    best = anchors(cells, k)
    assert best.mean_iou == pytest.approx(mean_iou, abs=0.001)
    assert len(cells) == 4155 + 372 + 361 - 2
    if k == 3:
        expected = [(40.9, 39.4), (105.0, 100.8), (209.9, 189.7)]
        assert [tuple(round(side, 1) for side in pair) for pair in best.sides] == expected


def test_more_starts_are_never_worse_and_equal_seeds_give_equal_anchors(cells):
    means = [anchors(cells, 9, seed=1, restarts=n).mean_iou for n in (1, 3, 6)]
    assert means == sorted(means)
    assert means[0] < means[1]
    assert anchors(cells, 9, seed=1, restarts=2) == anchors(cells, 9, seed=1, restarts=2)
    assert anchors(cells, 9, restarts=1) != anchors(cells, 9, seed=1, restarts=1)


@given(SIDES, st.integers(1, 4), st.sampled_from(["mean", "median"]))
@settings(max_examples=60)
def test_anchors_are_k_sizes_by_area_within_those_of_the_boxes(boxes, k, centre):
    given = torch.tensor(boxes).double()
    if len(set(boxes)) < k:
        with pytest.raises(DataError, match="of different sizes"):
            anchors(given, k, centre=centre)
        return
    best = anchors(given, k, centre=centre, restarts=2)
    areas = [w * h for w, h in best.sides]
    assert areas == sorted(areas)
    assert len(areas) == k
    low, high = given.amin(0) - 1e-9, given.amax(0) + 1e-9
    assert all(low[0] <= w <= high[0] and low[1] <= h <= high[1] for w, h in best.sides)
    assert 0 < best.mean_iou <= 1 + 1e-12
    assert best.mean_iou == pytest.approx(float(iou(given, torch.tensor(best.sides).double()).amax(1).mean()))


def test_as_many_anchors_as_boxes_fit_exactly_and_end_the_curve():
    assert curve(BOXES, 9)[-1] == pytest.approx(1)
    assert len(curve(BOXES, 9)) == 4
    assert curve(BOXES, 9)[1] == anchors(BOXES, 2).mean_iou


@pytest.mark.parametrize(
    ("boxes", "options", "error", "message"),
    [
        (BOXES, {"k": 0}, UsageError, "must be 1 to 100, got 0"),
        (BOXES, {"k": 5}, DataError, "5 anchors need 5 boxes of different sizes, there are 4"),
        (BOXES, {"k": 1, "centre": "mode"}, UsageError, "centre must be one of mean, median, got"),
        (BOXES * 0, {"k": 1}, DataError, "finite and above 0"),
        (BOXES[:, :1], {"k": 1}, ShapeError, r"must be \(n, 2\)"),
    ],
)
def test_what_gives_no_anchors_is_refused(boxes, options, error, message):
    with pytest.raises(error, match=message):
        anchors(boxes, **options)


def test_a_size_scales_the_boxes_of_every_image_by_its_own_longest_side(tmp_path):
    root = made.voc(tmp_path, {"a": [("cat", 0, 0, 12, 24)]})  # 48 x 32
    made.picture(root / "b.png", size=(20, 80))
    (root / "b.xml").write_text(made.voc_text([("cat", 0, 0, 10, 20)], size=(20, 80)))
    best = concord.anchors(root, 1, size=96)
    assert best.sides.tolist() == [[24, 48], [12, 24]]
    assert best.anchors == ((18, 36),)
    assert concord.anchors(root, 1).anchors == ((11, 22),)
    with pytest.raises(UsageError, match="has no part 'test'; it has train"):
        concord.anchors(root, 1, part="test")
    with pytest.raises(UsageError, match="size must be 1 to 8192"):
        concord.anchors(root, 1, size=0)


def run(capsys, *arguments):
    with pytest.raises(SystemExit) as left:
        app.main(["anchors", *map(str, arguments)])
    return left.value.code, *capsys.readouterr()


def test_the_verb_prints_the_anchors_and_writes_a_page_or_a_figure(tmp_path, capsys):
    root = made.voc(tmp_path / "set")
    status, out, _ = run(capsys, root, "-k", 2, "--to", tmp_path / "a.html")
    assert status == 0
    assert "anchors: 16.0,8.0, 13.0,17.0" in out
    page = (tmp_path / "a.html").read_text()
    assert "mean IoU" in page
    assert "<svg" in page
    status, out, _ = run(capsys, root, "-k", 2, "--to", tmp_path / "a.svg", "--json")
    given = json.loads(out)
    assert given["anchors"] == [[16, 8], [13, 17]]
    assert (given["boxes"], given["size"], len(given["curve"])) == (3, None, 3)
    assert (tmp_path / "a.svg").read_text().startswith("<svg")


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (("none",), 3, "does not exist; expected VOC"),
        (("set", "-k", 7), 3, "7 anchors need 7 boxes"),
        (("set", "-k", 2, "--to", "a.png"), 2, "a.png: its name must end in .html (a page) or .svg"),
        (("set", "--centre", "mode"), 2, "centre must be one of mean, median"),
    ],
)
def test_what_the_verb_cannot_do_is_one_message(arguments, status, message, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    made.voc(tmp_path / "set")
    given, _, err = run(capsys, *arguments)
    assert (given, message in err) == (status, True), err


def test_the_figure_shows_every_anchor_and_the_curve(tmp_path):
    best = suggested(str(made.voc(tmp_path)), 2)
    drawing = anchors_figure(best)
    assert "2 anchors of 3 boxes, mean IoU" in drawing
    assert drawing == anchors_figure(best)
    assert "width, pixels of the files" in anchors_page(best)

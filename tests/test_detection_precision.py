"""Average precision equals its reference evaluators, also where they are awkward."""

import contextlib
import io
import subprocess
import sys

import numpy as np
import pytest
import torch
from data_made import shared
from docs_made import ROOT, blocks
from hypothesis import given, settings
from hypothesis import strategies as st
from precision_made import CELLS, SUMMARY, cells, pycocotools, scene, voc, without

from concord.errors import DataError, ShapeError, UsageError
from concord.tasks.detection.listed import average_precision
from concord.tasks.detection.matching import THRESHOLDS
from concord.tasks.detection.padded import figures, rows, truths
from concord.tasks.detection.precision import RULES
from concord.tasks.detection.ranking import HUNDRED_AND_ONE

TEN = [0, 0, 10, 10]


def one_class(found, true, **flags):
    """Average precision of boxes in one image; ``found`` has pairs of a score and a box."""
    prediction = {
        "boxes": [box for _, box in found],
        "scores": [score for score, _ in found],
        "labels": [0] * len(found),
    }
    return average_precision([prediction], [{"boxes": true, "labels": [0] * len(true)} | flags])


def equal_to_pycocotools(predictions, targets, classes):
    pytest.importorskip("pycocotools", reason="the reference evaluator: needs the extra bench")
    with contextlib.redirect_stdout(io.StringIO()):
        table, summary = pycocotools(predictions, targets, classes)
    got = average_precision(predictions, targets, classes=[str(k) for k in range(classes)])
    assert list(got.summary) == SUMMARY
    for name in SUMMARY:
        assert got.summary[name] == pytest.approx(summary[name], abs=1e-12), name
    for k in range(classes):
        row = got.classes.get(str(k), {"coco50": np.nan, "coco": np.nan})
        expected = [table[0, k], table[:, k].mean()]
        assert [row["coco50"], row["coco"]] == pytest.approx(expected, abs=1e-12, nan_ok=True)


def test_by_hand_a_hit_a_miss_a_hit_and_a_truth_that_is_never_found():
    # precision 1, 1/2, 2/3 at recall 1/3, 1/3, 2/3; the last box overlaps its truth by .72
    true = [TEN, [100, 0, 110, 10], [200, 0, 210, 10]]
    found = [(0.9, TEN), (0.5, [50, 0, 60, 10]), (0.2, [100, 0, 107.2, 10])]
    got = one_class(found, true)
    assert got.means == pytest.approx(
        {
            "area": 1 / 3 * 1 + 1 / 3 * 2 / 3,
            "voc07": (4 * 1 + 3 * 2 / 3) / 11,
            "coco50": (34 * 1 + 33 * 2 / 3) / 101,
            "coco": (5 * 56 + 5 * 34) / 1010,  # above .72 the third is a miss
        }
    )
    assert got.summary["AR1"] == pytest.approx(1 / 3)
    assert got.summary["AR10"] == pytest.approx((5 * 2 + 5 * 1) / 30)
    assert got.summary["AR100"] == pytest.approx((5 * 2 + 5 * 1) / 30)
    curve = got.curves["0"]
    assert curve.recall == pytest.approx([1 / 3, 1 / 3, 2 / 3])
    assert curve.precision == pytest.approx([1, 1 / 2, 2 / 3])
    assert curve.scores.tolist() == [0.9, 0.5, 0.2]


@pytest.mark.parametrize("seed", range(6))
def test_coco_equals_pycocotools(seed):
    equal_to_pycocotools(*scene(seed), 4)


def test_how_many_pairs_are_looked_at_together_does_not_matter(monkeypatch):
    whole = average_precision(*scene(11))
    for pairs in (1, 7, 50):
        monkeypatch.setattr("concord.tasks.detection.pairs.AT_ONCE", pairs)
        assert average_precision(*scene(11)) == whole


def test_coco_equals_pycocotools_where_an_image_has_more_than_a_hundred_of_a_class():
    equal_to_pycocotools(*scene(7, images=2, classes=1, detections=150), 1)


def test_coco_equals_pycocotools_among_many_equal_scores():
    equal_to_pycocotools(*scene(8, images=150, classes=2, detections=20), 2)


def test_coco_equals_pycocotools_with_areas_that_are_not_those_of_boxes():
    predictions, targets = scene(9, scale=9)
    for one in targets:
        one["area"] = 0.4 * np.prod(one["boxes"][:, 2:] - one["boxes"][:, :2], 1)
    equal_to_pycocotools(predictions, targets, 4)


def test_an_area_on_the_border_of_two_sizes_is_of_both():
    squares = [[0, 0, side, side] for side in (32, 96)]
    targets = [{"boxes": [square], "labels": [0]} for square in squares]
    predictions = [{"boxes": squares, "scores": [0.7, 0.8], "labels": [0, 0]}] * 2
    equal_to_pycocotools(predictions, targets, 1)
    summary = average_precision(predictions, targets).summary
    assert [summary[f"AR_{size}"] for size in ("small", "medium", "large")] == [1, 1, 1]


def test_coco_equals_pycocotools_on_boxes_between_pixels():
    predictions, targets = scene(10)
    for one in (*predictions, *targets):
        one["boxes"] = one["boxes"] + np.random.default_rng(0).uniform(0, 5, (len(one["boxes"]), 1))
    equal_to_pycocotools(predictions, targets, 4)


def test_every_rule_equals_its_reference_on_detections_in_photographs():
    predictions, targets = cells(shared("bccd"))
    got = average_precision(predictions, targets, classes=CELLS)
    assert got.classes["WBC"]["area"] > 0.9  # the detections are worth ranking
    assert 0.05 < got.classes["RBC"]["coco50"] < 0.5
    equal_to_pycocotools(predictions, targets, 3)
    equal_to_voc(predictions, targets, 3)


corner = st.integers(0, 9)
box = st.tuples(corner, corner, corner, corner).map(
    lambda b: [min(b[0], b[2]), min(b[1], b[3]), max(b[0], b[2]), max(b[1], b[3])]
)
label = st.integers(0, 1)
detection = st.tuples(box, st.sampled_from([0.2, 0.4, 0.9]), label)
truth = st.tuples(box, label, st.booleans(), st.booleans())
image = st.tuples(st.lists(detection, max_size=6), st.lists(truth, max_size=4))


def as_mappings(images):
    predictions = [
        {"boxes": [d[0] for d in found], "scores": [d[1] for d in found], "labels": [d[2] for d in found]}
        for found, _ in images
    ]
    names = ("boxes", "labels", "crowd", "difficult")
    targets = [{name: [t[i] for t in true] for i, name in enumerate(names)} for _, true in images]
    return predictions, targets


def counts(images):
    return any(not (crowd or difficult) for _, true in images for _, _, crowd, difficult in true)


@settings(max_examples=80, deadline=None)
@given(st.lists(image, min_size=1, max_size=3).filter(counts))
def test_every_small_scene_agrees_with_pycocotools(images):
    equal_to_pycocotools(*as_mappings(images), 2)


@settings(max_examples=100, deadline=None)
@given(st.lists(image, min_size=1, max_size=3).filter(counts))
def test_every_small_scene_agrees_with_voc_by_its_definition(images):
    equal_to_voc(*as_mappings(images), 2)


@pytest.mark.parametrize("seed", range(6))
def test_voc_equals_its_definition(seed):
    equal_to_voc(*scene(seed, scale=1), 4)


def equal_to_voc(predictions, targets, classes):
    targets = without(targets, "crowd")
    if not any((np.asarray(one["difficult"]) == 0).any() for one in targets):
        return
    names = [str(k) for k in range(classes)]
    got = average_precision(predictions, targets, classes=names, inclusive=True)
    for rule, points in (("voc07", 11), ("area", 0)):
        expected = voc(predictions, targets, classes, points)
        found = {name: row[rule] for name, row in got.classes.items()}
        known = {name: float(ap) for name, ap in zip(names, expected, strict=True) if ap is not None}
        assert found == pytest.approx(known, abs=1e-12)


def test_thresholds_and_levels_are_those_of_pycocotools_bit_for_bit():
    evaluator = pytest.importorskip("pycocotools.cocoeval", reason="the reference: needs the extra bench")
    params = evaluator.Params("bbox")
    assert params.iouThrs.tolist() == THRESHOLDS.tolist()
    assert params.recThrs.tolist() == HUNDRED_AND_ONE.tolist()


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_an_overlap_exactly_on_a_threshold_is_enough(kind):
    for side, hits in ((5, 1), (5.5, 2), (6, 3), (7.5, 6), (9, 9), (9.5, 10)):  # of the ten thresholds
        got = one_class([(0.9, np.array([0, 0, side, 10], kind))], [TEN])
        assert got.means == pytest.approx({"voc07": 1, "area": 1, "coco50": 1, "coco": hits / 10})
    below = one_class([(0.9, [0, 0, 4.999, 10])], [TEN])
    assert set(below.means.values()) == {0}


@pytest.mark.parametrize(("found", "total"), [(3, 10), (3, 5), (6, 10), (7, 10), (29, 100), (57, 100)])
def test_a_recall_exactly_on_a_level_reaches_it(found, total):
    true = [[20 * i, 0, 20 * i + 10, 10] for i in range(total)]
    got = one_class([(0.9, box) for box in true[:found]], true)
    assert got.means["voc07"] == pytest.approx((10 * found // total + 1) / 11)
    reached = sum(found / total >= level for level in np.linspace(0, 1, 101))
    assert got.means["coco50"] == pytest.approx(reached / 101)


def test_equal_scores_stay_in_the_order_given():
    away = [50, 0, 60, 10]
    assert one_class([(0.5, TEN), (0.5, away)], [TEN]).means["area"] == 1
    assert one_class([(0.5, away), (0.5, TEN)], [TEN]).means["area"] == 1 / 2
    empty = {"boxes": [], "labels": []}
    wrong, right = ({"boxes": [box], "scores": [0.5], "labels": [0]} for box in (away, TEN))
    target = {"boxes": [TEN], "labels": [0]}
    assert average_precision([wrong, right], [empty, target]).means["coco50"] == 1 / 2
    assert average_precision([right, wrong], [target, empty]).means["coco50"] == 1


def test_a_second_detection_of_a_truth_is_a_miss_under_every_rule():
    got = one_class([(0.9, TEN), (0.8, TEN), (0.7, [20, 0, 30, 10])], [TEN, [20, 0, 30, 10]])
    assert got.means["area"] == pytest.approx((1 + 2 / 3) / 2)
    assert got.means["coco"] == pytest.approx((51 + 50 * 2 / 3) / 101)


def test_coco_gives_a_detection_the_next_truth_where_voc_calls_it_a_double():
    true = [[0, 0, 10, 10], [0, 2, 10, 12]]
    got = one_class([(0.9, TEN), (0.8, [0, 1, 10, 10])], true)  # .9 of the first, 8/11 of the second
    assert got.means["area"] == pytest.approx(1 / 2)
    assert got.means["coco50"] == pytest.approx(1)


def test_a_detection_takes_the_truth_that_it_overlaps_most_and_leaves_the_other_one():
    upper, lower = TEN, [0, 2, 10, 12]
    second = (0.8, [0, 5, 10, 15])  # 7/13 of the lower one, a third of the upper one
    for true in ([upper, lower], [lower, upper]):
        got = one_class([(0.9, TEN), second], true)  # the first has 1 of the upper one, 2/3 of the lower
        assert got.means["coco50"] == got.means["area"] == 1


def test_of_two_truths_that_a_detection_overlaps_equally_voc_takes_the_first_and_coco_the_last():
    upper, lower, between = TEN, [0, 2, 10, 12], [0, 1, 10, 11]
    second = (0.8, [0, -3, 10, 7])  # 7/13 of the upper one, 5/17 of the lower one
    both = one_class([(0.9, between), second], [upper, lower])
    assert both.means["coco50"] == 1  # the first took the lower one
    assert both.means["area"] == 1 / 2
    other = one_class([(0.9, between), second], [lower, upper])
    assert other.means["coco50"] == pytest.approx(51 / 101)
    assert other.means["area"] == 1


def test_coco_equals_pycocotools_where_truths_of_a_class_lie_on_each_other():
    equal_to_pycocotools(*scene(13, images=40, classes=1, grid=8), 1)


def test_what_lies_in_a_crowd_is_neither_right_nor_wrong():
    crowd = [100, 0, 200, 100]
    found = [(0.9, [110, 10, 120, 20]), (0.8, [130, 10, 140, 20]), (0.7, TEN)]
    flags = {"crowd": [True, False]}
    assert one_class(found, [crowd, TEN], **flags).means["coco"] == 1  # both lie inside
    assert one_class(found, [crowd, TEN], difficult=[True, False]).means["coco"] == pytest.approx(1 / 3)
    assert one_class(found, [crowd, TEN], **flags).truths == {"0": 1}


def test_images_without_a_flag_have_nothing_flagged():
    predictions, targets = scene(12)
    for one in targets[::2]:
        one["crowd"][:] = one["difficult"][:] = False
    sparse = [one if i % 2 else without([one], "crowd", "difficult")[0] for i, one in enumerate(targets)]
    assert average_precision(predictions, sparse) == average_precision(predictions, targets)


def test_boxes_of_zero_area_are_never_hit_and_give_no_nan():
    flat = [5, 5, 5, 9]
    got = one_class([(0.9, flat), (0.8, TEN)], [flat, TEN])
    assert got.means["area"] == pytest.approx(1 / 2 * 1 / 2)
    equal_to_pycocotools(
        [{"boxes": [flat, TEN], "scores": [0.9, 0.8], "labels": [0, 0]}],
        [{"boxes": [flat, TEN], "labels": [0, 0]}],
        1,
    )


def test_a_class_without_a_truth_is_left_out_and_named():
    prediction = {"boxes": [TEN, TEN, TEN], "scores": [0.9, 0.8, 0.7], "labels": [0, 1, 2]}
    target = {"boxes": [TEN, TEN], "labels": [0, 2], "difficult": [False, True]}
    got = average_precision([prediction], [target], "voc07", classes=["cell", "dust", "hair", "ice"])
    assert got.without_truth == ("dust", "hair", "ice")
    assert got.classes.keys() == got.truths.keys() == got.curves.keys() == {"cell"}
    assert got.mean == got.means["voc07"] == 1
    assert "left out of the means for lack of a truth: dust, hair, ice" in str(got)


def test_a_class_that_is_never_predicted_counts_as_zero():
    empty = {"boxes": [], "scores": [], "labels": []}
    target = {"boxes": [TEN], "labels": [3]}
    got = average_precision([empty], [target])
    assert got.classes == {"3": dict.fromkeys(RULES, 0.0)}
    assert got.summary["AP_large"] is None
    assert got.curves["3"].recall.size == 0


def test_the_table_and_the_dictionary_have_every_rule():
    predictions, targets = scene(3)
    got = average_precision(predictions, targets, classes=["a", "bb", "ccc", "d"])
    lines = str(got).splitlines()
    assert lines[0].split() == ["class", "truths", *RULES]
    assert lines[5].split() == [
        "mean",
        str(sum(got.truths.values())),
        *(f"{got.means[rule]:.4f}" for rule in RULES),
    ]
    plain = got.to_dict()
    assert plain["mean"] == got.means["coco"]
    assert plain["classes"]["bb"] == got.classes["bb"]
    assert got.means["area"] == pytest.approx(np.mean([row["area"] for row in got.classes.values()]))


def test_the_area_is_that_under_the_highest_points_of_the_curve():
    predictions, targets = scene(4)
    got = average_precision(predictions, targets)
    for name, curve in got.curves.items():
        assert (np.diff(curve.scores) <= 0).all()
        heights = np.maximum.accumulate(curve.precision[::-1])[::-1]
        assert (np.diff(curve.recall, prepend=0) * heights).sum() == pytest.approx(got.classes[name]["area"])


def padded(images, names):
    most = max(1, max(len(one["labels"]) for one in images))
    fill = {"boxes": torch.zeros(len(images), most, 4), "labels": torch.full((len(images), most), -1)}
    fill |= {name: torch.zeros(len(images), most, dtype=kind) for name, kind in names.items()}
    for i, one in enumerate(images):
        for name in fill:
            values = torch.tensor(np.asarray(one[name]), dtype=fill[name].dtype)
            fill[name][i, : len(values)] = values.reshape(len(values), *fill[name].shape[2:])
    return fill


def batches(predictions, targets):
    return padded(predictions, {"scores": torch.float32}), padded(
        targets, {"crowd": torch.bool, "difficult": torch.bool}
    )


@pytest.mark.parametrize("size", [1, 5, 12])
def test_batches_give_the_figures_of_all_images(size):
    predictions, targets = scene(5)
    for one in predictions:
        one["scores"] = one["scores"].astype(np.float32)
    table, total = [], 0
    for i in range(0, 12, size):
        found, true = batches(predictions[i : i + size], targets[i : i + size])
        table.append(rows(found, true))
        total = total + truths(true, 4)
    names = ["a", "b", "c", "d"]
    got = figures(torch.cat(table), total, names)
    expected = average_precision(predictions, targets, classes=names)
    assert got.classes == expected.classes
    assert got.means == expected.means
    assert got.truths == expected.truths
    assert got.summary == {name: expected.summary[name] for name in got.summary}
    assert got.summary.keys() == {"AP", "AP50", "AP75", "AR1", "AR10", "AR100"}


def test_the_rows_of_an_image_do_not_depend_on_its_batch():
    predictions, targets = scene(6)
    together = rows(*batches(predictions, targets))
    alone = [rows(*batches([p], [t])) for p, t in zip(predictions, targets, strict=True)]
    assert torch.equal(together, torch.cat(alone))
    assert together.dtype == torch.float64
    assert len(together) == sum(len(one["labels"]) for one in predictions)


def test_a_row_by_hand():
    found = {
        "boxes": torch.tensor([[[0.0, 0, 10, 10], [0, 0, 7, 10], [0, 0, 0, 0]]]),
        "scores": torch.tensor([[0.25, 0.5, 0.0]]),
        "labels": torch.tensor([[2, 2, -1]]),
    }
    target = {
        "boxes": torch.tensor([[[0.0, 0, 10, 10], [0, 0, 0, 0]]]),
        "labels": torch.tensor([[2, -1]]),
        "crowd": torch.zeros(1, 2, dtype=torch.bool),
        "difficult": torch.zeros(1, 2, dtype=torch.bool),
    }
    # the box of the higher score has the truth up to an overlap of .7, and the other one above
    assert rows(found, target).tolist() == [
        [2, 0.5, 0, 1, *[1] * 5, *[0] * 5],
        [2, 0.25, 1, 0, *[0] * 5, *[1] * 5],
    ]
    assert truths(target, 3).tolist() == [0, 0, 1]


def test_padded_boxes_of_a_wrong_shape_are_refused():
    found, true = batches(*scene(0))
    with pytest.raises(ShapeError, match=r"detections: expected boxes .*'scores': \(12,\)"):
        rows(found | {"scores": torch.zeros(12)}, true)
    with pytest.raises(ShapeError, match=r"target: expected"):
        truths(true | {"boxes": torch.zeros(12, 4)}, 4)
    with pytest.raises(ShapeError, match="labels of 2 classes end at 1, got 3"):
        truths(true, 2)
    with pytest.raises(ShapeError, match=r"\(R, 14\) and truths \(4,\), got \(3, 2\) and \(4,\)"):
        figures(torch.zeros(3, 2), truths(true, 4), list("abcd"))


FOUND = {"boxes": [TEN], "scores": [0.5], "labels": [0]}
TRUE = {"boxes": [TEN], "labels": [0]}


@pytest.mark.parametrize(
    ("found", "true", "error", "message"),
    [
        ({"boxes": [TEN]}, {}, UsageError, r"predictions\[0\] has no 'labels'; it has 'boxes'"),
        (FOUND | {"boxes": [[0, 0, 1]]}, {}, ShapeError, r"predictions\[0\]: boxes must be \(N, 4\), got"),
        (FOUND | {"scores": [1, 2]}, {}, ShapeError, r"predictions\[0\]: scores must be \(1,\), one for"),
        (FOUND | {"scores": [np.nan]}, {}, DataError, r"predictions\[0\], box 0: a score is a finite"),
        (FOUND | {"labels": [0.5]}, {}, DataError, r"predictions\[0\], box 0: a label is a whole .* got 0.5"),
        (FOUND | {"labels": [np.nan]}, {}, DataError, "a label is a whole number from 0, got nan"),
        (FOUND | {"labels": ["cat"]}, {}, UsageError, r"labels must be numbers, got \['cat'\]"),
        (FOUND, {"boxes": [[3, 0, 1, 9]]}, DataError, r"targets\[0\], box 0: a box is x1, y1, x2, y2 with"),
        (FOUND, {"boxes": [[0, 0, np.inf, 9]]}, DataError, "a box is four finite numbers"),
        (
            FOUND,
            {"labels": [-1]},
            DataError,
            r"targets\[0\], box 0: a label is a whole number from 0, got -1",
        ),
        (FOUND, {"crowd": [2]}, DataError, "crowd is true or false, got 2"),
        (FOUND, {"area": [np.nan]}, DataError, "an area is a number from 0, got nan"),
        (
            FOUND,
            {"boxes": [], "labels": []},
            DataError,
            "needs a truth that is neither a crowd nor difficult",
        ),
        (FOUND, {"crowd": [True]}, DataError, "needs a truth that is neither a crowd nor difficult"),
    ],
)
def test_what_cannot_be_read_is_refused_with_its_place(found, true, error, message):
    with pytest.raises(error, match=message):
        average_precision([found], [TRUE | true])


def test_wrong_arguments_are_refused():
    with pytest.raises(UsageError, match="got 1 predictions and 2 targets"):
        average_precision([FOUND], [TRUE, TRUE])
    with pytest.raises(
        UsageError, match=r"one of voc07, area, coco50, coco, got 'voc7' .did you mean 'voc07'"
    ):
        average_precision([FOUND], [TRUE], "voc7")
    with pytest.raises(DataError, match=r"targets\[1\], box 0: labels end at 0, got 4"):
        average_precision([FOUND] * 2, [TRUE, TRUE | {"labels": [4]}], classes=["cell"])
    with pytest.raises(UsageError, match="different names, got 'a', 'a'"):
        average_precision([FOUND], [TRUE], classes=["a", "a"])


def test_arrays_need_no_torch():
    program = (
        "import sys, concord; one = {'boxes': [[0, 0, 9, 9]], 'labels': [0]};"
        "assert concord.average_precision([one | {'scores': [1]}], [one]).mean == 1;"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16])
def test_tensors_are_taken_as_they_are(kind):
    boxes, labels = torch.tensor([TEN, [0, 0, 10, 5]], dtype=kind), torch.tensor([0, 0])
    found = {"boxes": boxes, "scores": torch.tensor([0.25, 0.75], dtype=kind, requires_grad=True)}
    target = {"boxes": boxes[:1], "labels": labels[:1]}
    got = average_precision([found | {"labels": labels}], [target])
    assert got.means == pytest.approx({"voc07": 1, "area": 1, "coco50": 1, "coco": (1 + 9 * 0.5) / 10})
    found, target = ({key: one[None] for key, one in tree.items()} for tree in (found, target))
    flags = dict.fromkeys(("crowd", "difficult"), torch.zeros(1, 1, dtype=torch.bool))
    table = rows(found | {"labels": labels[None]}, target | flags)
    assert figures(table, truths(target | flags, 1), ["0"]).means == got.means


def test_the_example_of_the_page_prints_what_the_page_shows(capsys):
    page = ROOT / "docs/average-precision.md"
    exec(compile(blocks(page, "python")[0], str(page), "exec"), {})
    assert capsys.readouterr().out == blocks(page, "text")[0]

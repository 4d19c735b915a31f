"""From raw outputs to detections: decoding, suppression and fusion, beside torchvision and by hand."""

import math
from dataclasses import replace

import pytest
import torch
from detection_made import ANCHORS, HEADS, SIZE, exact, output_of
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torchvision.ops import batched_nms, box_iou, nms

from concord.errors import UsageError
from concord.tasks.detect import Detect
from concord.tasks.detection.boxes import centred, corners, overlap
from concord.tasks.detection.decode import candidates, clipped
from concord.tasks.detection.fuse import merged, weighted
from concord.tasks.detection.head import Decoded
from concord.tasks.detection.heads import head_of
from concord.tasks.detection.suppress import gaussian, hard, linear, soft
from concord.tasks.detection.v1 import YoloV1
from concord.tasks.detection.v2 import YoloV2
from concord.tasks.detection.v3 import YoloV3
from concord.zoo.yolo_small import yolo_small_v1, yolo_small_v2, yolo_small_v3

_ = exact  # the fixture, by its name in this module


def drawn(seed, images=1, rows=60, classes=3, left=-20.0):
    """Detections by falling score that overlap a lot; the last rows of every image only fill up."""
    g = torch.Generator().manual_seed(seed)
    low = torch.rand(images, rows, 2, generator=g) * 60 + left
    boxes = torch.cat([low, low + 10 + 40 * torch.rand(images, rows, 2, generator=g)], -1)
    scores = torch.rand(images, rows, generator=g).sort(1, descending=True)[0]
    labels = torch.randint(classes, (images, rows), generator=g)
    scores[:, -5:], labels[:, -5:] = 0.0, -1
    return {"boxes": boxes, "scores": scores, "labels": labels}


def listed(found, image=0):
    """(label, score, x1, y1, x2, y2) of the rows that do not only fill up."""
    there = found["labels"][image] >= 0
    rows = zip(*(found[key][image][there].tolist() for key in ("labels", "scores", "boxes")), strict=True)
    return [(label, score, *box) for label, score, box in rows]


def made(*rows):
    """Detections of one image of (label, score, x1, y1, x2, y2)."""
    labels, scores, boxes = [r[0] for r in rows], [r[1] for r in rows], [r[2:] for r in rows]
    found = {"boxes": torch.tensor([boxes]).float(), "scores": torch.tensor([scores]).float()}
    return found | {"labels": torch.tensor([labels])}


def test_overlap_is_that_of_torchvision_and_0_for_points():
    """box_iou gives NaN for two boxes without area."""
    boxes = drawn(0)["boxes"][0].double()
    own = overlap(centred(boxes)[:, None], centred(boxes))
    torch.testing.assert_close(own, box_iou(boxes, boxes))
    torch.testing.assert_close(corners(centred(boxes)), boxes)
    point = torch.tensor([3.0, 4.0, 0.0, 0.0])
    assert overlap(point, point).item() == 0
    inner, outer = torch.tensor([10.0, 10.0, 4.0, 2.0]), torch.tensor([10.0, 10.0, 8.0, 6.0])
    assert overlap(inner, outer).item() == pytest.approx(8 / 48)
    assert overlap(inner, outer, torch.tensor(True)).item() == 1


@pytest.mark.usefixtures("exact")
def test_v1_is_decoded_by_hand():
    """Cell (row 1, column 2) of 4 x 4 in 64 x 96: x = (2 + .25) / 4 96, w = .5^2 96, score .8 .6."""
    head, output = HEADS["v1"], torch.zeros(1, 4 * 4 * 13, dtype=torch.float64)
    cell = 1 * 4 + 2
    output[0, cell * 3 + 1] = 0.6
    output[0, 16 * 3 + cell * 2 + 1] = 0.8
    output[0, 16 * 5 + (cell * 2 + 1) * 4 :][:4] = torch.tensor([0.25, 0.5, 0.5, -0.75])
    boxes, scores, size = head.decode(output)
    assert size == SIZE
    assert scores[0, cell * 2 + 1].tolist() == pytest.approx([0, 0.48, 0])
    assert scores.sum().item() == pytest.approx(0.48)
    x, y, w, h = 2.25 / 4 * 96, 1.5 / 4 * 64, 0.25 * 96, 0.5625 * 64
    assert boxes[0, cell * 2 + 1].tolist() == pytest.approx([x - w / 2, y - h / 2, x + w / 2, y + h / 2])


@pytest.mark.usefixtures("exact")
@pytest.mark.parametrize("version", ["v2", "v3"])
@pytest.mark.parametrize("direct", [True, False])
def test_v2_and_v3_are_decoded_by_hand(version, direct):
    """Anchor 30 x 41 in row 2, column 5 of the map of stride 16, t = ln 3, 0, ln 2, -ln 2 and t_o = ln 4."""
    head, output = replace(HEADS[version], direct=direct), output_of(HEADS[version], 1)
    one = output if version == "v2" else output[1]
    logits = [math.log(3), 0.0, math.log(2), -math.log(2), math.log(4), 0.0, math.log(2), math.log(5)]
    one.view(1, -1, 8, 4, 6)[0, 1, :, 2, 5] = torch.tensor(logits, dtype=torch.float64)
    place = (1 * 4 + 2) * 6 + 5 + (0 if version == "v2" else 2 * 2 * 3)
    boxes, scores, size = head.decode(output)
    x, y = ((5 + 0.75) * 16, (2 + 0.5) * 16) if direct else (30 * math.log(3) + 5.5 * 16, 2.5 * 16)
    w, h = 60, 20.5
    assert boxes[0, place].tolist() == pytest.approx([x - w / 2, y - h / 2, x + w / 2, y + h / 2])
    classes = [1 / 8, 2 / 8, 5 / 8] if version == "v2" else [1 / 2, 2 / 3, 5 / 6]
    assert scores[0, place].tolist() == pytest.approx([0.8 * p for p in classes])
    assert size == SIZE
    assert len(boxes[0]) == (3 * 24 if version == "v2" else 2 * 6 + 2 * 24)


def test_maps_of_any_size_are_decoded():
    head = YoloV3(3, (ANCHORS, ANCHORS), (32, 16))
    for h, w in ((32, 64), (96, 32)):
        maps = [torch.zeros(2, 16, h // s, w // s) for s in (32, 16)]
        boxes, scores, size = head.decode(maps)
        assert size == (h, w)
        assert boxes[0, -1].tolist() == pytest.approx(
            [w - 8 - 15, h - 8 - 20.5, w - 8 + 15, h - 8 + 20.5]  # the last cell of the fine map
        )
        assert scores.shape == (2, boxes.shape[1], 3)


def test_candidates_are_the_best_pairs_of_a_box_and_a_class():
    boxes = torch.tensor([[[0.0, 0, 1, 1], [0, 0, 2, 2], [0, 0, 3, 3]]])
    scores = torch.tensor([[[0.5, 0.9], [0.2, 0.1], [0.7, 0.6]]])
    decoded = Decoded(boxes, scores, (10, 10))
    rows = [(label, round(score, 3), x2) for label, score, _, _, x2, _ in listed(candidates(decoded, 0.2))]
    assert rows == [(1, 0.9, 1), (0, 0.7, 3), (1, 0.6, 3), (0, 0.5, 1)]
    assert [row[0] for row in listed(candidates(decoded, 0.2, most=2))] == [1, 0]
    single = candidates(decoded, 0.1, one_class=True)
    assert [(row[0], row[5]) for row in listed(single)] == [(1, 1), (0, 3), (0, 2)]
    assert candidates(decoded, 0.95)["labels"].tolist() == [[-1] * 6]


def test_boxes_are_cut_off_at_the_borders():
    found = clipped(made((0, 0.5, -3, -4, 200, 50), (1, 0.4, 1, 2, 3, 100)), SIZE)
    assert found["boxes"].tolist() == [[[0, 0, 96, 50], [1, 2, 3, 64]]]


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 4), st.sampled_from([0.2, 0.45, 0.7]), st.integers(1, 80))
def test_hard_suppression_is_that_of_torchvision_class_by_class(seed, classes, threshold, most):
    found = drawn(seed, images=2, classes=classes)
    own = hard(found, most, threshold)
    assert own["labels"].shape == (2, most)
    for i in range(2):
        rows = []
        for k in range(classes):
            of_class = (found["labels"][i] == k).nonzero().flatten()
            left = nms(found["boxes"][i][of_class], found["scores"][i][of_class], threshold)
            rows += of_class[left].tolist()
        expected = [listed({key: value[:, [r]] for key, value in found.items()}, i)[0] for r in sorted(rows)]
        assert listed(own, i) == expected[:most]


def test_a_box_left_of_the_image_does_not_reach_into_the_class_before():
    """torchvision moves the second box by 101, the largest coordinate and 1, on top of the first."""
    found = made((0, 0.9, 50, 0, 100, 50), (1, 0.8, -51, -101, -1, -51))
    assert batched_nms(found["boxes"][0], found["scores"][0], found["labels"][0], 0.45).tolist() == [0]
    assert len(listed(hard(found))) == 2


def test_an_overlap_equal_to_the_threshold_is_kept():
    """Boxes 2 x 1 and 1 x 1 inside: IoU 1/2."""
    found = made((0, 0.9, 0, 0, 2, 1), (0, 0.8, 0, 0, 1, 1))
    assert len(listed(hard(found, overlap=0.5))) == 2
    assert len(listed(hard(found, overlap=0.499))) == 1
    assert len(listed(weighted([found], threshold=0.5))) == 2
    assert len(listed(weighted([found], threshold=0.499))) == 1


@pytest.mark.parametrize("decay", [linear(), gaussian()], ids=["linear", "gaussian"])
def test_soft_suppression_is_that_of_its_definition(decay):
    """Box by box and class by class, as the paper's figure 3 has it."""
    found = drawn(3, images=2, rows=40)
    own = soft(found, 60, decay=decay)
    for i in range(2):
        expected = []
        for k in range(3):
            rest = [row for row in listed(found, i) if row[0] == k]
            while rest:
                best = max(rest, key=lambda row: row[1])
                rest.remove(best)
                expected.append(best)
                a = torch.tensor([best[2:]])
                shared = [box_iou(a, torch.tensor([row[2:]]))[0, 0] for row in rest]
                rest = [(r[0], r[1] * decay(s).item(), *r[2:]) for r, s in zip(rest, shared, strict=True)]
        expected = sorted((row for row in expected if row[1] > 0.001), key=lambda row: -row[1])
        assert len(expected) > 20
        for row, other in zip(listed(own, i), expected, strict=True):
            assert row == pytest.approx(other, rel=1e-4)


def test_soft_suppression_by_hand():
    """IoU 1/2: the second score is halved by the linear form, and times e^{-1/2} by the Gaussian of .5."""
    found = made((0, 0.9, 0, 0, 2, 1), (0, 0.8, 0, 0, 1, 1), (1, 0.7, 0, 0, 2, 1))
    assert [row[1] for row in listed(soft(found, decay=linear()))] == pytest.approx([0.9, 0.7, 0.4])
    assert [row[1] for row in listed(soft(found, decay=gaussian()))] == pytest.approx(
        [0.9, 0.7, 0.8 * math.exp(-0.5)]
    )
    assert [row[1] for row in listed(soft(found, decay=linear(0.5)))] == pytest.approx([0.9, 0.7, 0.4])
    assert [row[1] for row in listed(soft(found, decay=linear(0.6)))] == pytest.approx([0.9, 0.8, 0.7])
    assert len(listed(soft(found, 2, decay=linear()))) == 2
    assert len(listed(soft(found, decay=linear(), least=0.4))) == 2


def test_boxes_are_fused_by_hand():
    """.8 (0, 0, 10, 10) and .4 (2, 0, 12, 10) overlap by 2/3: x1 = (.8 0 + .4 2) / 1.2, s = .6 of two.

    What one of three members has found alone keeps a third of its score, another class stays apart.
    """
    one = made((0, 0.8, 0, 0, 10, 10), (1, 0.9, 0, 0, 10, 10))
    two = made((0, 0.4, 2, 0, 12, 10))
    three = made((2, 0.3, 50, 50, 60, 60))
    rows = listed(weighted([one, two]))
    assert rows[0] == pytest.approx((0, 0.6, 2 / 3, 0, 10 + 2 / 3, 10))
    assert rows[1] == pytest.approx((1, 0.45, 0, 0, 10, 10))
    assert [row[1] for row in listed(weighted([one, two, three]))] == pytest.approx([0.4, 0.3, 0.1])


def test_a_fused_box_that_has_moved_is_what_the_next_is_compared_with():
    """0..10 and 3..13 overlap by 7/13, below .55; with 2..12 the first becomes 1..11.

    3..13 overlaps that by 8/12, 4..14 by 7/13 again.
    """
    a, b = (0, 0.6, 0, 0, 10, 10), (0, 0.6, 2, 0, 12, 10)
    assert len(listed(weighted([made(a), made((0, 0.5, 3, 0, 13, 10))]))) == 2
    together = listed(weighted([made(a), made(b), made((0, 0.5, 3, 0, 13, 10))]))
    assert together == [pytest.approx((0, 1.7 / 3, 2.7 / 1.7, 0, 10 + 2.7 / 1.7, 10), rel=1e-5)]
    assert len(listed(weighted([made(a), made(b), made((0, 0.5, 4, 0, 14, 10))]))) == 2


def test_more_boxes_than_members_do_not_raise_a_score():
    rows = [(0, 0.8, 0, 0, 10, 10), (0, 0.4, 0, 0, 10, 10), (0, 0.3, 0, 0, 10, 10)]
    other = made((1, 0.1, 0, 0, 1, 1))
    assert listed(weighted([made(*rows), other]))[0][1] == pytest.approx(0.5)
    assert listed(weighted([made(*rows)]))[0][1] == pytest.approx(0.5)


def fused_one_by_one(members, threshold=0.55):
    """The definition, box by box."""
    boxes = sorted((row for found in members for row in listed(found)), key=lambda row: -row[1])
    clusters = []
    for row in boxes:
        best, at = threshold, None
        for i, rows in enumerate(clusters):
            if rows[0][0] != row[0]:
                continue
            total = sum(r[1] for r in rows)
            mean = [sum(r[1] * r[c] for r in rows) / total for c in range(2, 6)]
            shared = box_iou(torch.tensor([mean]).double(), torch.tensor([row[2:]]).double()).item()
            if shared > best:
                best, at = shared, i
        if at is None:
            clusters.append([row])
        else:
            clusters[at].append(row)
    fused = []
    for rows in clusters:
        total = sum(r[1] for r in rows)
        score = total / len(rows) * min(len(rows), len(members)) / len(members)
        fused.append((rows[0][0], score, *(sum(r[1] * r[c] for r in rows) / total for c in range(2, 6))))
    return sorted(fused, key=lambda row: -row[1])


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 3))
def test_boxes_are_fused_as_the_definition_says(seed, count):
    members = [drawn(seed + i, rows=20) for i in range(count)]
    own, expected = listed(weighted(members)), fused_one_by_one(members)
    for row, other in zip(own, expected, strict=True):
        assert row == pytest.approx(other, rel=1e-4, abs=1e-3)


def test_images_of_a_batch_are_fused_and_suppressed_alone():
    members = [drawn(i, images=3, rows=25) for i in range(2)]
    for fuse in (weighted, merged):
        whole = fuse(members)
        for i in range(3):
            alone = fuse([{key: value[i : i + 1] for key, value in found.items()} for found in members])
            for key, value in alone.items():
                torch.testing.assert_close(whole[key][i : i + 1], value)


def test_what_suppression_left_of_one_member_is_not_changed_by_fusion():
    left = hard(drawn(8))
    for fuse in (weighted, merged):
        for key, value in fuse([left]).items():
            torch.testing.assert_close(value, left[key])


def test_merged_boxes_are_those_of_one_suppression():
    members = [drawn(1), drawn(2)]
    every = sorted((row for found in members for row in listed(found)), key=lambda row: -row[1])
    assert listed(merged(members)) == listed(hard(made(*every)))


def test_nothing_is_fused_of_no_member():
    with pytest.raises(UsageError, match="at least one member"):
        weighted([])


def test_without_detections_all_rows_only_fill_up():
    found = candidates(Decoded(torch.rand(2, 7, 4), torch.zeros(2, 7, 3), SIZE), 0.1)
    for some in (hard(found, 4), soft(found, 4, decay=linear()), weighted([found], 4), merged([found], 4)):
        assert some["labels"].tolist() == [[-1] * 4] * 2
        assert not some["scores"].any()
        assert not some["boxes"].any()


def network(**attributes):
    made = nn.Identity()
    for name, value in attributes.items():
        setattr(made, name, value)
    return made


def test_a_head_is_made_of_the_attributes_of_a_network():
    free = {"classes": 3, "cells": 0, "boxes": 0}
    v1 = network(version=1, classes=3, cells=5, boxes=2, strides=(), anchors=())
    assert head_of(v1, SIZE) == YoloV1(3, 5, 2, SIZE)
    v2 = network(version=2, strides=(16,), anchors=(ANCHORS,), **free)
    assert head_of(v2, SIZE) == YoloV2(3, ANCHORS, 16)
    v3 = network(version=3, strides=(32, 16), anchors=(ANCHORS, ANCHORS), **free)
    assert head_of(v3, SIZE) == YoloV3(3, (ANCHORS, ANCHORS), (32, 16))


@pytest.mark.parametrize("build", [yolo_small_v1, yolo_small_v2, yolo_small_v3])
def test_heads_fit_the_networks_of_the_zoo(build):
    """Every number of an output belongs to a box."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        made = build(1, 2, width=2).eval()
    head = head_of(made, SIZE)
    output = made(torch.rand(2, 1, *SIZE))
    boxes, scores, size = head.decode(output)
    leaves = [output] if isinstance(output, torch.Tensor) else output
    assert size == SIZE
    numbers = sum(leaf.numel() for leaf in leaves)
    assert numbers == scores[..., 0].numel() * (7 if made.version > 1 else 5) + (made.cells**2 * 4)
    assert boxes.shape[:2] == scores.shape[:2]


def test_a_network_that_describes_no_head_is_refused():
    with pytest.raises(UsageError, match="Identity lacks version, classes, cells, boxes, strides, anchors"):
        head_of(nn.Identity(), SIZE)
    strange = network(version=4, classes=3, cells=0, boxes=0, strides=(), anchors=())
    with pytest.raises(UsageError, match="got version 4 with 0 maps"):
        head_of(strange, SIZE)


class Detecting(nn.Module):
    """Two maps of one convolution each, and the detections of their head."""

    def __init__(self):
        super().__init__()
        self.coarse, self.fine = nn.Conv2d(1, 16, 32, 32), nn.Conv2d(1, 16, 16, 16)
        self.task = Detect(HEADS["v3"], most=20)

    def forward(self, x):
        found = self.task.detections((self.coarse(x), self.fine(x)))
        return found["boxes"], found["scores"], found["labels"]


def test_decoding_and_suppression_are_exported_with_a_network(tmp_path):
    """onnxruntime finds the same boxes in images of three sizes."""
    pytest.importorskip("onnxscript", reason="the export needs the extra export")
    runtime = pytest.importorskip("onnxruntime", reason="the check needs the extra export")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = Detecting().eval()
        images = [torch.rand(1, 1, *size) for size in (SIZE, (32, 64), (128, 96))]
    sides = {2 + i: 32 * torch.export.Dim(name, min=1, max=20) for i, name in enumerate(("h", "w"))}
    torch.onnx.export(network, (images[0],), dynamo=True, dynamic_shapes=(sides,)).save(tmp_path / "a.onnx")
    session = runtime.InferenceSession(tmp_path / "a.onnx")
    for x in images:
        expected = network(x)
        assert (expected[2] >= 0).any()
        for own, other in zip(session.run(None, {"x": x.numpy()}), expected, strict=True):
            torch.testing.assert_close(torch.from_numpy(own), other.detach(), rtol=1e-4, atol=1e-3)

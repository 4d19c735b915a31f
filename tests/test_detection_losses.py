"""The losses of YOLO v1, v2 and v3, beside darknet's gradients written out cell by cell."""

import math
from dataclasses import replace

import darknet_gradients_made as darknet
import numpy as np
import pytest
import torch
from detection_made import ANCHORS, HEADS, SIZE, exact, image_of, output_of, target_of

from concord.errors import DataError, ShapeError, UsageError
from concord.tasks.detection.v1 import YoloV1
from concord.tasks.detection.v2 import YoloV2
from concord.tasks.detection.v3 import YoloV3

pytestmark = pytest.mark.usefixtures("exact")
_ = exact  # the fixture, by its name in this module
EACH = pytest.mark.parametrize("version", HEADS)

# many boxes of an image share cells and anchors; the third image has the same box twice, with two classes
IMAGES = [
    image_of(1, 12), image_of(2, 3), [(0, 0.4, 0.6, 0.3, 0.7), (2, 0.4, 0.6, 0.3, 0.7)], [], image_of(3, 25)
]  # fmt: skip


def leaves(output):
    return (output,) if isinstance(output, torch.Tensor) else output


def gradients(head, output, target):
    """Minus the gradient of the summed loss with respect to each tensor of the output."""
    variables = [leaf.clone().requires_grad_() for leaf in leaves(output)]
    head.loss(variables[0] if isinstance(output, torch.Tensor) else tuple(variables), target).sum().backward()
    return [-leaf.grad for leaf in variables]


def by_hand(head, output, images):
    """Darknet's deltas of the same output, image by image."""
    rows = []
    for b, truths in enumerate(images):
        z = [leaf[b].numpy() for leaf in leaves(output)]
        if isinstance(head, YoloV1):
            rows.append([darknet.v1(z[0], truths, 3, head.cells, head.boxes)])
            continue
        maps = [one.reshape(-1, 8, *one.shape[1:]) for one in z]
        if isinstance(head, YoloV2):
            found = [
                darknet.v2(maps[0], truths, head.anchors, SIZE, head.stride, head.pull, head.by_prediction)
            ]
        else:
            found = darknet.v3(maps, truths, head.anchors, SIZE, head.strides, head.ignore)
        rows.append([one.reshape(-1, *one.shape[2:]) for one in found])
    return [torch.from_numpy(np.stack(leaf)) for leaf in zip(*rows, strict=True)]


@pytest.mark.parametrize(
    "head",
    [
        HEADS["v1"],
        replace(HEADS["v1"], boxes=3, cells=7),
        HEADS["v2"],
        replace(HEADS["v2"], pull=0.01),
        YoloV2.without_anchors(3, boxes=4, stride=16),
        HEADS["v3"],
        replace(HEADS["v3"], ignore=0.2),
    ],
    ids=["v1", "v1 with three boxes", "v2", "v2 pulled", "v2 without anchors", "v3", "v3 that ignores more"],
)
@pytest.mark.parametrize("seed", [0, 1])
def test_gradients_are_those_of_darknet(head, seed):
    output = output_of(head, len(IMAGES), seed)
    expected = by_hand(head, output, IMAGES)
    for own, other in zip(gradients(head, output, target_of(IMAGES)), expected, strict=True):
        torch.testing.assert_close(own, other, rtol=1e-9, atol=1e-12)


@EACH
def test_losses_have_the_gradient_of_finite_differences(version):
    """But for the IoU that v1 and v2 aim at, which is a constant: at a box that meets nothing it is 0."""
    head, images = HEADS[version], [[(1, 0.3, 0.4, 0.3, 0.5)], []]
    output = leaves(output_of(head, 2))
    if version == "v1":
        output[0][:, 16 * 5 :] = 0.1 * torch.rand_like(output[0][:, 16 * 5 :]) + 0.01  # tiny boxes
        output[0][:, 16 * 5 :: 4] += 3.0  # far away
    if version == "v2":
        output[0].view(2, 3, 8, -1)[:, :, 2:4] -= 12.0  # a box of nearly no area
    target = target_of(images)

    def loss(*z):
        return head.loss(z[0] if version != "v3" else z, target)

    assert torch.autograd.gradcheck(
        loss, [z.clone().requires_grad_() for z in output], atol=1e-4, fast_mode=True
    )


def test_a_loss_of_v1_by_hand():
    """One cell, two boxes, image 100 x 200 (H, W). Truth: x, y = .5, .25 of the cell, w = .16, h = .36.

    Box 0 is .5, .25, .4, .5 -> w .16, h .25: IoU .25/.36. Box 1 is far away. Classes .7, .1, truth 0.
    box: 5/2 (.6 - .5)^2; confidence: 1/2 (.9 - .25/.36)^2 + 1/4 (.3)^2; classes: 1/2 (.3^2 + .1^2)
    """
    head = YoloV1(2, cells=1, boxes=2, size=(100, 200))
    output = torch.tensor(
        [[0.7, 0.1, 0.9, 0.3, 0.5, 0.25, 0.4, 0.5, 0.9, 0.9, 0.1, 0.1]], dtype=torch.float64
    )
    target = target_of([[(0, 0, 0, 0, 0)]])
    target["boxes"][0, 0] = torch.tensor([100 - 16, 25 - 18, 100 + 16, 25 + 18])
    parts = head.parts(output, target)
    assert parts.box.item() == pytest.approx(2.5 * 0.01)
    assert parts.overlap.item() == pytest.approx(0.25 / 0.36)
    assert parts.objectness.item() == pytest.approx((0.9 - 0.25 / 0.36) ** 2 / 2 + 0.25 * 0.09)
    assert parts.classes.item() == pytest.approx(0.05)
    assert head.loss(output, target).item() == pytest.approx(sum(p.item() for p in parts[:3]))


def test_losses_of_v2_and_v3_by_hand():
    """One cell of 32 pixels, one anchor 16 x 8. Truth: x, y = 24, 8, w = 16 e, h = 8; two classes, truth 1.

    All logits 0: s = 1/2, box 16 x 8 at 16, 16. Wanted are .75, .25, 1, 0; c = 2 - 16 e 8 / 1024.
    v2: c/2 (1/16 + 1/16 + 1), 5/2 (1/2 - IoU)^2, ln 2.
    v3: c (2 H(1/4, 0) + 1/2) with H(t, 0) = ln 2, ln 2, 2 ln 2.
    """
    target = target_of([[(1, 0, 0, 0, 0)]])
    w = 16 * math.e
    target["boxes"][0, 0] = torch.tensor([24 - w / 2, 4, 24 + w / 2, 12], dtype=torch.float64)
    c = 2 - w * 8 / 1024
    # x from 8 to 24 and from 2.25 to 45.75 share 16; y from 12 to 20 and from 4 to 12 share nothing
    zeros = torch.zeros(1, 7, 1, 1, dtype=torch.float64)
    v2 = YoloV2(2, ((16.0, 8.0),), 32).parts(zeros, target)
    assert [p.item() for p in v2[:3]] == pytest.approx([c / 2 * (1 / 8 + 1), 5 / 8, math.log(2)])
    assert v2.overlap.item() == 0
    v3 = YoloV3(2, (((16.0, 8.0),),), (32,)).parts((zeros,), target)
    assert [p.item() for p in v3[:3]] == pytest.approx(
        [c * (2 * math.log(2) + 0.5), math.log(2), 2 * math.log(2)]
    )


@EACH
def test_without_boxes_a_loss_is_finite_and_pushes_objectness_down(version):
    head = HEADS[version]
    output = output_of(head, 2)
    parts = head.parts(output, target_of([[], []]))
    assert torch.equal(parts.box, torch.zeros(2))
    assert torch.equal(parts.classes, torch.zeros(2))
    assert (parts.objectness > 0).all()
    assert parts.objectness.isfinite().all()
    assert not parts.chosen.any()
    for gradient in gradients(head, output, target_of([[], []])):
        assert gradient.isfinite().all()


@EACH
def test_rows_that_fill_up_and_boxes_without_area_change_nothing(version):
    head, image = HEADS[version], image_of(5, 4)
    output = output_of(head, 1)
    flat = [(0, 0.5, 0.5, 0.0, 0.4), (1, 0.2, 0.8, 0.3, 0.0), (1, 0.2, 0.8, -0.1, 0.2)]
    alone = head.loss(output, target_of([image]))
    filled = target_of([image + flat, image_of(6, 12)])
    torch.testing.assert_close(head.loss(output, {key: value[:1] for key, value in filled.items()}), alone)


@EACH
def test_a_sample_has_the_loss_that_it_has_alone(version):
    head, target = HEADS[version], target_of(IMAGES)
    output = output_of(head, len(IMAGES))
    whole = head.loss(output, target)
    for i in range(len(IMAGES)):
        one = [leaf[i : i + 1] for leaf in leaves(output)]
        own = {key: value[i : i + 1] for key, value in target.items()}
        torch.testing.assert_close(head.loss(one[0] if version != "v3" else one, own), whole[i : i + 1])


@EACH
@pytest.mark.parametrize("flag", ["crowd", "difficult"])
def test_an_ignored_box_is_neither_object_nor_background(version, flag):
    """Its place gets no gradient of objectness, and nothing else that it had as an object."""
    head, image = HEADS[version], [(1, 0.3, 0.4, 0.3, 0.5)]
    output = output_of(head, 1)
    nothing = head.parts(output, target_of([[]]))
    ignored = head.parts(output, target_of([image], **{flag: [(0, 0)]}))
    assert ignored.box.item() == 0
    assert ignored.classes.item() == 0
    assert not ignored.chosen.any()
    assert ignored.objectness.item() < nothing.objectness.item()
    parts = gradients(head, output, target_of([image], **{flag: [(0, 0)]}))
    still = sum(int((gradient == 0).sum()) for gradient in parts)
    before = sum(int((gradient == 0).sum()) for gradient in gradients(head, output, target_of([[]])))
    assert still > before


def test_a_box_that_lies_in_a_crowd_is_not_background():
    """A predicted box of 16 x 8 in a crowd of 30 x 30 has a small IoU with it, but lies in it wholly."""
    head = YoloV3(1, (((16.0, 8.0), (31.0, 31.0)),), (32,))
    target = target_of([[(0, 0.5, 0.5, 0, 0)]], crowd=[(0, 0)])
    target["boxes"][0, 0] = torch.tensor([1.0, 1.0, 31.0, 31.0])
    zeros = (torch.zeros(1, 12, 1, 1, dtype=torch.float64),)
    assert head.parts(zeros, target).objectness.item() == 0
    target["crowd"][:], target["difficult"][:] = False, True
    assert head.parts(zeros, target).objectness.item() == pytest.approx(math.log(2))


def test_a_box_that_overlaps_an_object_by_just_the_threshold_is_background():
    """Boxes 16 x 8 and 16 x 16 around 16, 16 overlap by a half; the object is that of the second."""
    target = target_of([[(0, 0, 0, 0, 0)]])
    target["boxes"][0, 0] = torch.tensor([8.0, 8.0, 24.0, 24.0])
    zeros = (torch.zeros(1, 12, 1, 1, dtype=torch.float64),)
    anchors = (((16.0, 8.0), (16.0, 16.0)),)
    for ignore, places in ((0.5, 2), (0.49, 1)):
        parts = YoloV3(1, anchors, (32,), ignore=ignore).parts(zeros, target)
        assert parts.objectness.item() == pytest.approx(places * math.log(2))


@EACH
def test_an_object_in_a_place_of_an_ignored_box_counts(version):
    head, image = HEADS[version], [(1, 0.3, 0.4, 0.3, 0.5)]
    output = output_of(head, 1)
    both = head.parts(output, target_of([image * 2], difficult=[(0, 1)]))
    alone = head.parts(output, target_of([image]))
    assert both.chosen.tolist() == [[True, False]]
    torch.testing.assert_close(both.box, alone.box)
    torch.testing.assert_close(both.objectness, alone.objectness)
    torch.testing.assert_close(both.classes, alone.classes)


@EACH
def test_a_box_whose_centre_is_outside_is_ignored(version):
    head = HEADS[version]
    parts = head.parts(
        output_of(head, 1),
        target_of([[(1, 1.05, -0.1, 0.3, 0.5), (0, 1.0, 0.5, 0.2, 0.2), (0, 3.0, 4.0, 0.9, 0.9)]]),
    )
    assert not parts.chosen.any()
    assert parts.box.item() == 0
    assert parts.total.isfinite().all()


def test_the_last_of_two_objects_owns_a_place_of_v2_the_first_a_cell_of_v1():
    twins = target_of([[(0, 0.4, 0.6, 0.3, 0.7), (2, 0.4, 0.6, 0.3, 0.7)]])
    assert HEADS["v1"].parts(output_of(HEADS["v1"], 1), twins).chosen.tolist() == [[True, False]]
    for version in ("v2", "v3"):
        assert HEADS[version].parts(output_of(HEADS[version], 1), twins).chosen.tolist() == [[False, True]]


@pytest.mark.parametrize("version", ["v2", "v3"])
def test_without_direct_location_the_target_is_the_distance_to_the_middle_of_the_cell_in_anchors(version):
    """The loss of a box is 0 at t = ((x - x_a) / w_a, ln w / w_a), else half a square."""
    head = replace(HEADS[version], direct=False)
    image = [(1, 0.31, 0.4, 0.3, 0.55)]
    x, y, w, h = 0.31 * 96, 0.4 * 64, 0.3 * 96, 0.55 * 64
    aw, ah = ANCHORS[1]  # the nearest of both heads, on the map of stride 16
    t = torch.tensor([(x - 24) / aw, (y - 24) / ah, math.log(w / aw), math.log(h / ah)], dtype=torch.float64)
    output = output_of(head, 1)
    grid = (output if version == "v2" else output[1]).view(1, -1, 8, 4, 6)
    grid[0, 1, :4, 1, 1] = t
    assert head.parts(output, target_of([image])).box.item() == pytest.approx(0, abs=1e-12)
    assert head.parts(output, target_of([image])).overlap.item() == pytest.approx(1)
    grid[0, 1, 0, 1, 1] += 0.5
    c = 2 - 0.3 * 0.55
    assert head.parts(output, target_of([image])).box.item() == pytest.approx(c / 8)


@pytest.mark.parametrize("version", ["v2", "v3"])
@pytest.mark.parametrize("direct", [True, False])
def test_a_network_that_gives_the_targets_has_no_loss_of_boxes(version, direct):
    """The boxes that it then predicts are the truths."""
    head = replace(HEADS[version], direct=direct)
    images = [[(0, 0.2, 0.3, 0.2, 0.3), (1, 0.7, 0.8, 0.5, 0.3)]]
    output = [leaf.clone().requires_grad_() for leaf in leaves(output_of(head, 1))]
    tree = output[0] if version == "v2" else tuple(output)
    optimizer = torch.optim.LBFGS(output, max_iter=200, line_search_fn="strong_wolfe")

    def closure():
        optimizer.zero_grad()
        loss = head.parts(tree, target_of(images)).box.sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    assert head.parts(tree, target_of(images)).overlap.tolist()[0] == pytest.approx([1, 1], abs=1e-4)


@EACH
def test_members_with_large_logits_have_finite_losses(version):
    head = HEADS[version]
    output = [leaf.sign() * 1000 for leaf in leaves(output_of(head, 2))]
    parts = head.parts(output[0] if version != "v3" else output, target_of([image_of(1, 5), []]))
    assert parts.total.isfinite().all()
    assert parts.overlap.isfinite().all()


@EACH
def test_outputs_of_another_shape_are_refused(version):
    head = HEADS[version]
    output = [leaf[:, :-1] for leaf in leaves(output_of(head, 1))]
    with pytest.raises(ShapeError, match=r"must give (maps|numbers)"):
        head.loss(output[0] if version != "v3" else output, target_of([[]]))


def test_maps_of_different_images_are_refused():
    first, second = output_of(HEADS["v3"], 1)
    with pytest.raises(ShapeError, match=r"must give maps \(B, 16, H/32, W/32\), \(B, 16, H/16, W/16\), got"):
        HEADS["v3"].loss((first, second[..., :-1]), target_of([[]]))
    with pytest.raises(ShapeError, match="must give maps"):
        HEADS["v3"].loss((first,), target_of([[]]))


@EACH
def test_labels_outside_of_the_classes_are_refused(version):
    head = HEADS[version]
    with pytest.raises(
        DataError, match="box 1 of sample 0 of the batch has the label 3; labels are from 0 to 2"
    ):
        head.loss(output_of(head, 1), target_of([[(0, 0.5, 0.5, 0.1, 0.1), (3, 0.5, 0.5, 0.1, 0.1)]]))


def test_a_target_of_another_form_is_refused():
    target = target_of([image_of(1, 2)]) | {"crowd": torch.zeros(1, 3, dtype=torch.bool)}
    with pytest.raises(ShapeError, match=r"a target is boxes \(B, T, 4\)"):
        HEADS["v2"].loss(output_of(HEADS["v2"], 1), target)


@pytest.mark.parametrize(
    "make",
    [
        lambda: YoloV1(0),
        lambda: YoloV1(3, cells=0),
        lambda: YoloV2(3, ()),
        lambda: YoloV2(3, ((0.0, 3.0),)),
        lambda: YoloV2(3, ANCHORS, pull=-1.0),
        lambda: YoloV3(3, (ANCHORS,), (32, 16)),
        lambda: YoloV3(3, (ANCHORS,), (32,), ignore=1.5),
    ],
)
def test_heads_that_cannot_be_are_refused(make):
    with pytest.raises(UsageError):
        make()

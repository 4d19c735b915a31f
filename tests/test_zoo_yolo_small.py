"""The small YOLO networks: counts, order of the outputs, anchors, and what they refuse."""

import pytest
import torch
from torch import nn

from concord import zoo
from concord.errors import ShapeError, UsageError
from concord.zoo.detector import in_order
from concord.zoo.yolo_small import yolo_small_v1, yolo_small_v2, yolo_small_v3

EVERY = (yolo_small_v1, yolo_small_v2, yolo_small_v3)
on_meta = torch.device("meta")


def numbers(network):
    return sum(p.numel() for p in network.parameters())


def test_the_backbone_is_the_same_and_the_budget_is_kept():
    with on_meta:
        made = [build() for build in EVERY]
    backbones = [[p.shape for p in network.backbone.parameters()] for network in made]
    assert backbones[0] == backbones[1] == backbones[2]
    # by hand, width 16: kernels, normalisation, the 1x1 and 3x3 behind
    kernels = 9 * (3 * 16 + 16 * 32 + 32 * 64 + 64 * 128 + 128 * 256) + 256 * 128 + 9 * 128 * 256
    trunk = kernels + 2 * (16 + 32 + 64 + 128 + 256 + 128 + 256)
    assert trunk == 721_552
    assert [numbers(network) for network in made] == [
        trunk + 257 * (3 + 2 * 5),
        trunk + 257 * 5 * (5 + 3),
        trunk + 257 * 3 * (5 + 3) + 129 * 3 * (5 + 3) + 128 * 64 + 128 + 9 * 192 * 128 + 256,
    ]
    assert max(map(numbers, made)) < 1_700_000


def test_three_anchors_make_the_measured_network_of_the_specification():
    assert numbers(zoo.build("yolo_small_v2(boxes=3)", channels=3, classes=3)) == 727_720


@pytest.mark.parametrize(
    ("build", "shapes"),
    [
        (yolo_small_v1, [(2, 25 * (4 + 3 * 5))]),
        (yolo_small_v2, [(2, 3 * 9, 4, 6)]),
        (yolo_small_v3, [(2, 3 * 9, 4, 6), (2, 3 * 9, 8, 12)]),
    ],
)
def test_outputs_have_the_shapes_that_the_attributes_say(build, shapes):
    options = {"cells": 5} if build is yolo_small_v1 else {}
    with on_meta:
        network = build(1, 4, width=2, boxes=3, **options)
        made = network(torch.empty(2, 1, 64, 96))
    made = made if isinstance(made, tuple) else (made,)
    assert [tuple(x.shape) for x in made] == shapes
    assert len(network.strides) == (0 if build is yolo_small_v1 else len(made))
    for x, stride in zip(made, network.strides, strict=False):
        assert (x.shape[2] * stride, x.shape[3] * stride) == (64, 96)


def test_version_one_is_flat_in_darknets_order():
    """K = 2 classes, n = 1 box, S = 2 cells: the channels 0..6 of cell c hold 10 c + channel."""
    cells = (10 * torch.arange(4).reshape(1, 1, 2, 2) + torch.arange(7).reshape(1, 7, 1, 1)).float()
    classes, confidences = [0, 1, 10, 11, 20, 21, 30, 31], [2, 12, 22, 32]
    boxes = [10 * cell + channel for cell in range(4) for channel in (3, 4, 5, 6)]
    assert in_order(cells, 2, 1)[0].tolist() == classes + confidences + boxes


def test_version_one_keeps_its_cells_on_a_map_of_that_size():
    """Pictures of 224x224 end in 14x14 places: nothing is resampled, and the 49 cells follow."""
    torch.manual_seed(0)
    network = yolo_small_v1(width=2).eval()
    x = torch.randn(1, 3, 224, 224)
    with torch.no_grad():
        coarse = network.backbone(x)[1]
        expected = in_order(network.head(network.last(coarse)), 3, 2)
        torch.testing.assert_close(network(x), expected)


def test_version_three_sees_the_coarse_map_on_the_fine_scale():
    torch.manual_seed(0)
    network = yolo_small_v3(width=2).eval()
    with torch.no_grad():
        x = torch.randn(1, 3, 32, 48)
        before = network(x)
        network.up[0][0].weight.zero_()
        after = network(x)
    assert torch.equal(before[0], after[0])
    assert not torch.equal(before[1], after[1])


# --- anchors ------------------------------------------------------------------


def test_anchors_can_be_replaced_and_the_largest_go_to_the_coarsest_map():
    with on_meta:
        network = yolo_small_v3(boxes=2)
    pairs = [(40, 30), (5, 6), (9.5, 3), (100, 20)]
    assert network.with_anchors(pairs) is network
    assert network.anchors == (((40.0, 30.0), (100.0, 20.0)), ((5.0, 6.0), (9.5, 3.0)))
    again = [pair for of_a_map in network.anchors for pair in of_a_map]
    assert network.with_anchors(again).anchors == (((40, 30), (100, 20)), ((5, 6), (9.5, 3)))


def test_anchors_start_as_squares_of_equal_ratios():
    with on_meta:
        assert yolo_small_v2().anchors == (((16, 16), (32, 32), (64, 64), (128, 128), (256, 256)),)
        assert yolo_small_v1().anchors == ()


@pytest.mark.parametrize("pairs", [[(1, 2)] * 4, [(1, 2)] * 4 + [(0, 2)], [(1, 2)] * 4 + [(float("nan"), 2)]])
def test_other_anchors_are_refused(pairs):
    with on_meta, pytest.raises(UsageError, match=r"expected 5 anchors \(width, height\), positive numbers"):
        yolo_small_v2().with_anchors(pairs)


# --- refused ------------------------------------------------------------------


@pytest.mark.parametrize("build", [yolo_small_v2, yolo_small_v3])
def test_sides_are_multiples_of_the_stride(build):
    with on_meta:
        network = build(width=1)
        with pytest.raises(
            ShapeError, match="multiples of 16, got 250x32; use a height of 240 or 256 and a width of 32"
        ):
            network(torch.empty(1, 3, 250, 32))


def test_version_one_takes_other_sides_but_no_map_without_places():
    with on_meta:
        network = yolo_small_v1(width=1)
        assert network(torch.empty(1, 3, 131, 57)).shape == (1, 637)
        with pytest.raises(ShapeError, match="at least 16"):
            network(torch.empty(1, 3, 15, 40))


@pytest.mark.parametrize("size", ["width", "boxes", "classes", "channels"])
def test_sizes_are_at_least_one(size):
    for build in EVERY:
        with pytest.raises(UsageError, match="at least 1"):
            build(**{size: 0})
    with pytest.raises(UsageError, match="at least 1"):
        yolo_small_v1(cells=0)


def test_one_step_of_gradient_descent_reduces_a_squared_error():
    torch.manual_seed(0)
    network = yolo_small_v3(width=2)
    x = torch.randn(4, 3, 32, 32)
    descent = torch.optim.SGD(network.parameters(), lr=0.01)
    losses = []
    for _ in range(2):
        loss = sum(nn.functional.mse_loss(y, torch.ones_like(y)) for y in network(x))
        descent.zero_grad()
        loss.backward()
        descent.step()
        losses.append(loss.item())
    assert losses[1] < losses[0]

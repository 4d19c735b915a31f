"""Darknet-19 and -53 and YOLO v1 to v3: published counts, maps, anchors, and what they refuse."""

import pytest
import torch
from torch import nn

from concord.cost.count import count
from concord.errors import ShapeError, UsageError
from concord.zoo.yolo_v1 import yolo_v1, yolo_v1_tiny
from concord.zoo.yolo_v2 import darknet19, yolo_v2, yolo_v2_tiny
from concord.zoo.yolo_v3 import Darknet53, Unit, darknet53, yolo_v3, yolo_v3_tiny


def on_meta(build, **options):
    with torch.device("meta"):
        return build(**options).eval()


# Parameters, running means and variances, convolutions; by the side of the picture, billions of operations of
# the convolutions, two for each product. Computed from darknet's files.
PUBLISHED = [
    (yolo_v1, {}, 271_703_550, 0, 24, {}),
    (yolo_v1_tiny, {}, 27_095_374, 4_576, 8, {}),
    (darknet19, {}, 20_842_376, 14_400, 19, {224: 5.582}),
    (darknet53, {}, 41_609_928, 35_712, 53, {256: 18.570}),
    (yolo_v2, {}, 50_962_889, 20_672, 23, {416: 29.464, 608: 62.938}),
    (yolo_v2, {"classes": 20}, 50_655_389, 20_672, 23, {416: 29.360}),
    (yolo_v2_tiny, {}, 11_232_057, 5_088, 9, {416: 5.406}),
    (yolo_v2_tiny, {"classes": 20, "last": 1024}, 15_861_773, 6_112, 9, {416: 6.971}),
    (yolo_v3, {}, 61_949_149, 52_608, 75, {320: 38.973, 416: 65.864, 608: 140.692}),
    (yolo_v3, {"classes": 20}, 61_626_049, 52_608, 75, {416: 65.428}),
    (yolo_v3_tiny, {}, 8_852_366, 6_368, 13, {416: 5.565}),
]


@pytest.mark.parametrize(
    ("build", "options", "parameters", "buffers", "convolutions", "operations"), PUBLISHED
)
def test_counts_are_the_published_ones(build, options, parameters, buffers, convolutions, operations):
    network = on_meta(build, **options)
    modules = [*network.modules()]
    assert sum(p.numel() for p in network.parameters()) == parameters
    assert sum(2 * m.num_features for m in modules if isinstance(m, nn.BatchNorm2d)) == buffers
    assert sum(isinstance(m, nn.Conv2d) for m in modules) == convolutions
    for side, billions in operations.items():
        layers = count(network, (3, side, side)).layers
        products = sum(layer.macs for layer in layers if layer.type == "Conv2d")
        assert round(2 * products / 1e9, 3) == billions


def test_the_sizes_of_published_files_follow():
    assert 16 + 4 * (50_962_889 + 20_672) == 203_934_260
    assert 20 + 4 * (61_949_149 + 52_608) == 248_007_048
    assert 20 + 4 * (8_852_366 + 6_368) == 35_434_956


def test_tiny_version_one_needs_3_216_billion_operations_with_its_dense_layer():
    assert round(2 * count(on_meta(yolo_v1_tiny), (3, 448, 448)).macs / 1e9, 3) == 3.216


def test_dense_layers_of_the_paper_have_most_parameters():
    network = on_meta(yolo_v1)
    assert sum(p.numel() for p in network.features.parameters()) == 60_155_968
    assert sum(p.numel() for p in network.head.parameters()) == 211_547_582


@pytest.mark.parametrize(
    ("build", "sides", "maps"),
    [
        (yolo_v1, (448, 448), [(1, 49 * 30)]),
        (yolo_v1_tiny, (448, 448), [(1, 49 * 30)]),
        (yolo_v2, (64, 96), [(1, 125, 2, 3)]),
        (yolo_v2_tiny, (64, 96), [(1, 125, 2, 3)]),
        (yolo_v3, (64, 96), [(1, 75, 2, 3), (1, 75, 4, 6), (1, 75, 8, 12)]),
        (yolo_v3_tiny, (64, 96), [(1, 75, 2, 3), (1, 75, 4, 6)]),
    ],
)
def test_outputs_are_maps_of_the_strides(build, sides, maps):
    network = on_meta(build, channels=1, classes=20)
    made = network(torch.empty(1, 1, *sides, device="meta"))
    made = made if isinstance(made, tuple) else (made,)
    assert [tuple(x.shape) for x in made] == maps
    assert network.strides == tuple(sides[0] // x.shape[2] for x in made if x.ndim == 4)
    assert [len(a) for a in network.anchors] == [network.boxes] * len(network.strides)


def test_a_picture_of_416_has_10647_boxes_in_version_three_and_845_in_version_two():
    for build, expected in ((yolo_v3, 10_647), (yolo_v2, 845)):
        network = on_meta(build)
        places = sum((416 // stride) ** 2 for stride in network.strides)
        assert network.boxes * places == expected


def test_anchors_are_the_published_ones_in_pixels():
    coarse, middle, fine = on_meta(yolo_v3).anchors
    assert (coarse[0], middle[2], fine[1]) == ((116, 90), (59, 119), (16, 30))
    assert on_meta(yolo_v3_tiny).anchors[1] == ((10, 14), (23, 27), (37, 58))
    assert on_meta(yolo_v2).anchors[0][3] == pytest.approx((7.88282 * 32, 3.52778 * 32))
    assert on_meta(yolo_v2, classes=20).anchors[0][0] == pytest.approx((42.3072, 55.4064))
    tiny = on_meta(yolo_v2_tiny, classes=20)
    published = [(1.08, 1.19), (3.42, 4.41), (6.63, 11.38), (9.42, 5.11), (16.62, 10.52)]  # not by their area
    pixels = [(32 * w, 32 * h) for w, h in published]
    assert tiny.anchors == (tuple(pixels),)
    assert tiny.with_anchors(pixels).anchors == (tuple(pixels),)


def test_a_unit_adds_its_branch():
    torch.manual_seed(0)
    unit, x = Unit(4).eval(), torch.randn(2, 4, 5, 3)
    with torch.no_grad():
        narrow, wide = unit.branch
        expected = nn.functional.leaky_relu(wide[0](narrow(x)) / (1 + 1e-5) ** 0.5, 0.1) + x
        torch.testing.assert_close(unit(x), expected)


def test_darknet53_is_the_network_of_timm():
    timm = pytest.importorskip("timm")
    torch.manual_seed(0)
    theirs, ours = timm.create_model("darknet53", num_classes=10).eval(), Darknet53(3, 10).eval()
    for module in theirs.modules():
        if isinstance(module, nn.LeakyReLU):
            module.negative_slope = 0.1
    with torch.no_grad():
        given = [*theirs.state_dict().values()]
        for mine, other in zip(ours.state_dict().values(), given, strict=True):
            mine.copy_(other.reshape(mine.shape))
        x = torch.randn(1, 3, 64, 64)
        torch.testing.assert_close(ours(x), theirs(x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("sides", [(416, 416), (448, 512), (480, 448)])
def test_version_one_is_for_pictures_of_448(sides):
    for build in (yolo_v1, yolo_v1_tiny):
        with pytest.raises(ShapeError, match=f"must be 448, got {sides[0]}x{sides[1]}; resize"):
            on_meta(build)(torch.empty(1, 3, *sides, device="meta"))


@pytest.mark.parametrize("build", [yolo_v2, yolo_v2_tiny, yolo_v3, yolo_v3_tiny])
def test_other_sides_are_refused_with_the_next_legal_ones(build):
    message = "multiples of 32, got 416x400; use a height of 416 and a width of 384 or 416"
    with pytest.raises(ShapeError, match=message):
        on_meta(build)(torch.empty(1, 3, 416, 400, device="meta"))


def test_no_filters_are_refused():
    for build, options in (
        (yolo_v2_tiny, {"last": 0}),
        (darknet19, {"classes": 0}),
        (darknet53, {"channels": 0}),
    ):
        with pytest.raises(UsageError, match="at least 1"):
            build(**options)

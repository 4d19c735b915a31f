"""MobileNet against the figures of the paper and against timm's network."""

import pytest
import torch
from torch import nn

from concord import zoo
from concord.cost.count import count
from concord.errors import ShapeError, UsageError
from concord.zoo.mobilenet_v1 import MobileNetV1, mobilenet_v1


def on_meta(width=100):
    with torch.device("meta"):
        return mobilenet_v1(width=width)


@pytest.mark.parametrize(
    ("width", "side", "mult_adds", "parameters"),
    [
        # table 6: the width multiplier
        *((100, 224, 569, 4.2), (75, 224, 325, 2.6), (50, 224, 149, 1.3), (25, 224, 41, 0.5)),
        # table 7: the resolution multiplier
        *((100, 192, 418, 4.2), (100, 160, 290, 4.2), (100, 128, 186, 4.2)),
    ],
)
def test_costs_are_those_of_the_paper(width, side, mult_adds, parameters):
    cost = count(on_meta(width), (3, side, side))
    assert abs(cost.macs / 1e6 - mult_adds) < 1  # the paper rounds some rows and cuts others: 290.7 is 290
    assert round(cost.parameters / 1e6, 1) == parameters


def test_costs_to_the_last_unit():
    cost = count(on_meta(), (3, 224, 224))
    assert (cost.parameters, cost.macs) == (4_231_976, 568_740_352)


def test_width_can_be_given_with_the_name():
    network = zoo.build("mobilenet_v1(width=75)", channels=3, classes=1000)
    assert sum(p.numel() for p in network.parameters()) == 2_585_560


def test_shares_of_the_weights_are_those_of_table_2():
    layers = [m for m in on_meta().modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    first, *convolutions, dense = (m.weight.numel() for m in layers)
    pointwise, depthwise = sum(convolutions[1::2]), sum(convolutions[::2])
    total = first + pointwise + depthwise + dense
    shares = [round(100 * part / total, 2) for part in (pointwise, depthwise, first, dense)]
    assert shares == [74.59, 1.06, 0.02, 24.33]


def test_maps_are_those_of_table_1():
    network, seen = on_meta(), []
    for block in network.features:
        block.register_forward_hook(lambda _, __, y: seen.append(tuple(y.shape[1:3])))
    network(torch.empty(1, 3, 224, 224, device="meta"))
    pairs = [(32, 112), (32, 112), (64, 112), (64, 56), (128, 56), (128, 56), (128, 56), (128, 28), (256, 28)]
    pairs += [(256, 28), (256, 28), (256, 14), *[(512, 14)] * 11, (512, 7), (1024, 7), (1024, 7), (1024, 7)]
    assert seen == pairs


@pytest.mark.parametrize(("width", "twin"), [(100, "mobilenetv1_100"), (125, "mobilenetv1_125")])
def test_outputs_equal_those_of_timm(width, twin):
    timm = pytest.importorskip("timm")
    torch.manual_seed(0)
    ours, theirs = mobilenet_v1(width=width), timm.create_model(twin, act_layer="relu")
    pairs = zip(ours.state_dict().values(), theirs.state_dict().values(), strict=True)
    with torch.no_grad():
        for mine, other in pairs:
            mine.copy_(other)
    x = torch.randn(2, 3, 64, 64)
    torch.testing.assert_close(ours.train()(x), theirs.train()(x), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(
        ours.eval()(x), theirs.eval()(x), rtol=1e-5, atol=1e-5
    )  # statistics moved alike


def test_small_pictures_down_to_one_pixel_are_taken():
    network = mobilenet_v1(channels=1, classes=7, width=25).eval()
    for sides in ((32, 32), (28, 28), (5, 40), (1, 1)):
        assert network(torch.randn(2, 1, *sides)).isfinite().all()
    with pytest.raises(ShapeError, match="at least 1, got 0x4"):
        network(torch.zeros(2, 1, 0, 4))


@pytest.mark.parametrize("width", [0, 3])
def test_a_width_without_filters_is_refused(width):
    with pytest.raises(UsageError, match=f"at least 4, .*got {width}"):
        MobileNetV1(3, 10, width=width)
    assert MobileNetV1(3, 10, width=4).features[0][0].out_channels == 1

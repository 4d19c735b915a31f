"""Wide ResNets: the sizes of the paper's table, timm's network with equal weights, the place of dropout."""

from functools import partial

import pytest
import torch
from cifar_made import copy_in_order, macs, on_meta, shaken, size, without_gradient
from torch import nn

from concord.errors import ShapeError, UsageError
from concord.zoo.wide_resnet import WideResNet, wide_resnet28_2, wide_resnet28_10

# --- counts -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("build", "groups", "last", "head", "total"),
    [
        (
            wide_resnet28_10,
            [(256_352, 461_440), (1_434_560, 1_844_480), (5_736_320, 7_375_360)],
            1_280,
            6_410,
            36_479_194,
        ),
        (
            wide_resnet28_2,
            [(14_432, 18_560), (57_536, 73_984), (229_760, 295_424)],
            256,
            1_290,
            1_467_610,
        ),
    ],
)
def test_parts_and_totals(build, groups, last, head, total):
    network = on_meta(build)
    assert (size(network.stem), size(network.last), size(network.head)) == (432, last, head)
    assert [[size(unit) for unit in group] for group in network.groups] == [
        [first, *3 * [other]] for first, other in groups
    ]
    assert size(network) == total == 432 + sum(a + 3 * b for a, b in groups) + last + head
    assert sum(isinstance(m, nn.Conv2d) for m in network.modules()) == 28  # with the projections


@pytest.mark.parametrize(
    ("depth", "width", "millions"),
    [
        (40, 1, 0.6),
        (40, 2, 2.2),
        (40, 4, 8.9),
        (40, 8, 35.7),
        (28, 10, 36.5),
        (28, 12, 52.5),
        (22, 8, 17.2),
        (22, 10, 26.8),
        (16, 8, 11.0),
        (16, 10, 17.1),
    ],
)
def test_sizes_are_those_of_the_papers_table(depth, width, millions):
    assert round(size(on_meta(wide_resnet28_10, depth=depth, width=width)) / 1e6, 1) == millions


def macs_by_hand(depth, k, side, channels):
    total, c_in, units = 9 * channels * 16 * side**2, 16, (depth - 4) // 6
    for group in range(3):
        c_out = 16 * 2**group * k
        side //= 2 if group else 1
        total += side**2 * (9 * c_in * c_out + (2 * units - 1) * 9 * c_out**2)
        total += side**2 * c_in * c_out if c_in != c_out else 0
        c_in = c_out
    return total + c_in * 10


@pytest.mark.parametrize(
    ("depth", "width", "expected"), [(28, 10, 5_243_328_768), (28, 2, 214_353_152), (16, 1, 26_657_408)]
)
def test_multiply_accumulates(depth, width, expected):
    network = on_meta(wide_resnet28_10, depth=depth, width=width)
    assert macs(network, (3, 32, 32)) == expected == macs_by_hand(depth, width, 32, 3)


# --- the forward pass, by timm ------------------------------------------------


def timms(depth, width, channels):
    """Timm's pre-activation network of basic units in this form: only its stem is another one."""
    resnetv2 = pytest.importorskip("timm.models.resnetv2")
    layers = pytest.importorskip("timm.layers")
    network = resnetv2.ResNetV2(
        3 * [(depth - 4) // 6],
        (16 * width, 32 * width, 64 * width),
        num_classes=10,
        in_chans=channels,
        stem_chs=16,
        basic=True,
        bottle_ratio=1.0,
        norm_layer=partial(layers.BatchNormAct2d, eps=1e-5),
        conv_layer=partial(layers.create_conv2d, bias=False),
    )
    network.stem = nn.Conv2d(channels, 16, 3, padding=1, bias=False)
    return network


def in_timms_order(network):
    """The same tensors: timm registers a projection before the rest of its unit."""
    parts = [network.stem]
    for group in network.groups:
        for unit in group:
            parts += [*([unit.projection] if unit.projection else []), unit.first, unit.branch]
    return nn.ModuleList([*parts, network.last, network.head])


@pytest.mark.parametrize(
    ("depth", "width", "channels", "side"), [(16, 2, 3, 16), (10, 3, 1, 28), (28, 1, 2, 13)]
)
def test_outputs_equal_timms(depth, width, channels, side):
    network = shaken(WideResNet(channels, 10, depth=depth, width=width))
    other = timms(depth, width, channels)
    copy_in_order(in_timms_order(network), other)
    x = torch.randn(3, channels, side, side, dtype=torch.float64)
    with torch.no_grad():
        torch.testing.assert_close(network.eval()(x), other.eval()(x), rtol=1e-9, atol=1e-9)
        torch.testing.assert_close(network.train()(x), other.train()(x), rtol=1e-9, atol=1e-9)


# --- dropout, start, gradients, refusals --------------------------------------


def test_there_is_no_dropout_unless_asked_for():
    network, x = wide_resnet28_2(depth=10), torch.randn(2, 3, 8, 8)
    assert torch.equal(network(x), network(x))
    network = wide_resnet28_2(depth=10, dropout=30)
    assert not torch.equal(network(x), network(x))
    network.eval()
    assert torch.equal(network(x), network(x))


def test_dropout_stands_before_the_second_convolution_of_every_unit():
    torch.manual_seed(0)
    network, zeros = wide_resnet28_2(depth=16, dropout=90), []
    for group in network.groups:
        for unit in group:
            for conv in (unit.branch[0], unit.branch[-1]):
                conv.register_forward_pre_hook(lambda _, x: zeros.append((x[0] == 0).float().mean().item()))
    network(torch.randn(8, 3, 16, 16))
    assert zeros[::2] == pytest.approx(6 * [0.5], abs=0.1)  # the ReLU alone
    assert zeros[1::2] == pytest.approx(6 * [0.95], abs=0.02)


def test_convolutions_start_from_he_and_the_dense_layer_from_pytorch():
    torch.manual_seed(0)
    network = wide_resnet28_2()
    kernel = network.groups[2][1].branch[0].weight  # 128 maps
    assert kernel.std().item() == pytest.approx((2 / (9 * 128)) ** 0.5, rel=0.01)
    assert 0.9 * 128**-0.5 < network.head.weight.abs().max() <= 128**-0.5


def test_the_gradient_reaches_every_parameter():
    assert without_gradient(wide_resnet28_2(dropout=30), torch.randn(3, 3, 8, 8)) == []


def test_other_tensors_are_refused():
    network = wide_resnet28_2(depth=10)
    with pytest.raises(ShapeError, match=r"expected \(B, 3, H, W\), got \(2, 1, 8, 8\)"):
        network(torch.zeros(2, 1, 8, 8))
    with pytest.raises(ShapeError, match="at least 1, got 0x8"):
        network(torch.zeros(2, 3, 0, 8))


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"depth": 30}, "6 n \\+ 4 .* got 30"),
        ({"depth": 4}, "got 4"),
        ({"width": 0}, "width must be at least 1"),
        ({"dropout": 100}, "percentage from 0 to 99, got 100"),
    ],
)
def test_sizes_that_do_not_exist_are_refused(sizes, message):
    with pytest.raises(UsageError, match=message):
        wide_resnet28_10(**sizes)

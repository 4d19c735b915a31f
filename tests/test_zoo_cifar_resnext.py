"""ResNeXt-29: counts, torchvision's network with the same weights, groups as a sum over separate paths."""

import pytest
import torch
import torch.nn.functional as F
from cifar_made import assert_same, copy_in_order, macs, on_meta, shaken, size, without_gradient
from torch import nn
from torchvision.models.resnet import Bottleneck as TorchvisionBottleneck
from torchvision.models.resnet import ResNet

from concord.errors import ShapeError, UsageError
from concord.zoo.cifar_resnext import Bottleneck, resnext29, resnext29_16x64d

# --- counts -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("build", "stages", "total", "millions"),
    [
        (
            resnext29,
            [(478_208, 559_616), (2_103_296, 2_233_344), (8_400_896, 8_923_136)],
            34_426_698,
            34.4,
        ),
        (
            resnext29_16x64d,
            [(939_008, 1_118_720), (4_073_472, 4_465_664), (16_273_408, 17_844_224)],
            68_155_210,
            68.1,
        ),
    ],
)
def test_parameters_are_those_of_table_7(build, stages, total, millions):
    network = on_meta(build)
    assert (size(network.stem), size(network.head)) == (1_856, 10_250)
    assert [[size(unit) for unit in stage] for stage in network.stages] == [[a, b, b] for a, b in stages]
    assert size(network) == total == 12_106 + sum(a + 2 * b for a, b in stages)
    assert total / 1e6 == pytest.approx(millions, abs=0.06)


def test_depth_is_29():
    layers = sum(isinstance(m, nn.Conv2d | nn.Linear) for m in on_meta(resnext29).modules())
    assert layers - 3 == 29  # the three projections are not layers of the depth


def macs_by_hand(cardinality, width, side, channels):
    total, c_in = 9 * channels * 64 * side**2, 64
    for stage in range(3):
        inner, c_out, before = cardinality * width * 2**stage, 256 * 2**stage, side
        side //= 2 if stage else 1
        first = before**2 * c_in * inner + side**2 * c_in * c_out  # reduce at the old size; projection
        total += first + 2 * side**2 * c_out * inner
        total += 3 * side**2 * (9 * inner**2 // cardinality + inner * c_out)
        c_in = c_out
    return total + c_in * 10


@pytest.mark.parametrize(
    ("cardinality", "width", "expected"),
    [(8, 64, 5_387_266_048), (16, 64, 10_688_866_304), (4, 3, macs_by_hand(4, 3, 32, 3))],
)
def test_multiply_accumulates(cardinality, width, expected):
    network = on_meta(resnext29, cardinality=cardinality, width=width)
    assert macs(network, (3, 32, 32)) == expected == macs_by_hand(cardinality, width, 32, 3)


# --- the forward pass ---------------------------------------------------------


def torchvisions(cardinality, width, channels):
    network = ResNet(TorchvisionBottleneck, [3, 3, 3, 1], groups=cardinality, width_per_group=width)
    network.conv1 = nn.Conv2d(channels, 64, 3, padding=1, bias=False)
    network.maxpool, network.layer4 = nn.Identity(), nn.Identity()
    network.fc = nn.Linear(1024, 10)
    return network


@pytest.mark.parametrize(
    ("cardinality", "width", "channels", "side"), [(2, 3, 3, 16), (8, 1, 1, 28), (1, 5, 2, 13)]
)
def test_outputs_equal_torchvisions(cardinality, width, channels, side):
    network = shaken(resnext29(channels, cardinality=cardinality, width=width))
    other = copy_in_order(network, torchvisions(cardinality, width, channels))
    assert_same(network, other, torch.randn(3, channels, side, side, dtype=torch.float64))


def test_groups_are_the_sum_over_separate_paths():
    """Equation 3: y = x + sum_i T_i(x), each path T_i with kernels of its own."""
    unit, x = (
        shaken(Bottleneck(6, 6, width=2, cardinality=3, stride=1)).eval(),
        torch.randn(2, 6, 5, 5).double(),
    )

    def norm(x, layer, at=slice(None)):
        scale = (layer.weight / (layer.running_var + 1e-5).sqrt())[at]
        return (x - layer.running_mean[at, None, None]) * scale[:, None, None] + layer.bias[at, None, None]

    total = 0
    for path in (slice(0, 2), slice(2, 4), slice(4, 6)):
        y = norm(F.conv2d(x, unit.reduce[0].weight[path]), unit.reduce[1], path).relu()
        y = F.conv2d(y, unit.transform[0].weight[path], padding=1)
        total += F.conv2d(norm(y, unit.transform[1], path).relu(), unit.expand[0].weight[:, path])
    with torch.no_grad():
        torch.testing.assert_close(unit(x), (x + norm(total, unit.expand[1])).relu())


# --- gradients, refusals ------------------------------------------------------


def test_the_gradient_reaches_every_parameter():
    assert without_gradient(resnext29(cardinality=4, width=2), torch.randn(3, 3, 8, 8)) == []


def test_a_grouped_kernel_starts_from_he_with_its_own_fan_in():
    torch.manual_seed(0)
    kernel = resnext29(cardinality=4, width=16).stages[2][1].transform[0].weight  # 4 groups of 64 maps
    assert kernel.std().item() == pytest.approx((2 / (9 * 64)) ** 0.5, rel=0.01)


def test_other_tensors_are_refused():
    network = resnext29(cardinality=1, width=1)
    with pytest.raises(ShapeError, match=r"expected \(B, 3, H, W\), got \(2, 1, 8, 8\)"):
        network(torch.zeros(2, 1, 8, 8))
    with pytest.raises(ShapeError, match="at least 1, got 0x8"):
        network(torch.zeros(2, 3, 0, 8))


def test_no_paths_are_refused():
    with pytest.raises(UsageError, match="cardinality and width must be at least 1"):
        resnext29(cardinality=0)

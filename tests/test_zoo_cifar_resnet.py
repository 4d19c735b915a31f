"""ResNets for small pictures: counts, torchvision's network with equal weights, shortcuts that are free."""

import pytest
import torch
from cifar_made import assert_same, copy_in_order, macs, on_meta, shaken, size, without_gradient
from torch import nn
from torchvision.models.resnet import BasicBlock, ResNet

from concord.errors import ShapeError, UsageError
from concord.layers.shortcut import PaddedShortcut
from concord.zoo.cifar_resnet import (
    CifarResNet,
    Unit,
    resnet20,
    resnet32,
    resnet44,
    resnet56,
    resnet110,
)

# (builder, n, parameters, millions in table 6, MACs at 32x32 in colour, at 28x28 in grey)
TABLE = [
    (resnet20, 3, 269_722, "0.27", 40_551_040, 30_821_248),
    (resnet32, 5, 464_154, "0.46", 68_862_592, 52_497_280),
    (resnet44, 7, 658_586, "0.66", 97_174_144, 74_173_312),
    (resnet56, 9, 853_018, "0.85", 125_485_696, 95_849_344),
    (resnet110, 18, 1_727_962, "1.73", 252_887_680, 193_391_488),
]


# --- counts -------------------------------------------------------------------


@pytest.mark.parametrize(("build", "n", "parameters", "millions"), [row[:4] for row in TABLE])
def test_parameters_are_those_of_table_6(build, n, parameters, millions):
    network = on_meta(build)
    assert size(network) == parameters == 97_216 * n - 21_926
    assert f"{parameters / 1e6:.2f}" == millions
    assert sum(isinstance(m, nn.Conv2d | nn.Linear) for m in network.modules()) == 6 * n + 2


def test_parts_of_resnet20():
    network = on_meta(resnet20)
    assert (size(network.stem), size(network.head)) == (3 * 9 * 16 + 32, 650)
    assert [[size(unit) for unit in stage] for stage in network.stages] == [
        [4_672, 4_672, 4_672],
        [13_952, 18_560, 18_560],
        [55_552, 73_984, 73_984],
    ]


def test_one_filter_one_channel_one_class():
    network = resnet20(channels=1, classes=1, filters=1)
    assert size(network) == 11 + 3 * 22 + (62 + 2 * 80) + (232 + 2 * 304) + 5


def macs_by_hand(n, side, channels):
    total, width = 9 * channels * 16 * side**2, 16
    for stage in range(3):
        if stage:
            side, width = side // 2, 2 * width
        total += 2 * n * 9 * width**2 * side**2
        if stage:
            total -= 9 * width * (width // 2) * side**2  # the first kernel reads half as many maps
    return total + width * 10


@pytest.mark.parametrize(("build", "n", "colour", "grey"), [(r[0], r[1], r[4], r[5]) for r in TABLE])
def test_multiply_accumulates(build, n, colour, grey):
    assert macs(on_meta(build), (3, 32, 32)) == colour == macs_by_hand(n, 32, 3)
    assert macs(on_meta(build, channels=1), (1, 28, 28)) == grey == macs_by_hand(n, 28, 1)


# --- the forward pass, by torchvision -----------------------------------------


def torchvisions(n, channels, classes):
    """Torchvision's residual network in this form.

    Its projections are fixed to the identity matrix with rows of zeros under it, without normalisation:
    what the paper calls option A, written as option B.
    """
    network = ResNet(BasicBlock, [1, 1, 1, 1])
    network.conv1, network.bn1 = nn.Conv2d(channels, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16)
    network.maxpool, network.layer4 = nn.Identity(), nn.Identity()
    network.inplanes = 16
    for stage in range(3):
        layer = network._make_layer(BasicBlock, 16 * 2**stage, n, stride=2 if stage else 1)
        setattr(network, f"layer{stage + 1}", layer)
        if stage:
            layer[0].downsample[0] = FixedProjection(8 * 2**stage)
            layer[0].downsample[1] = nn.Identity()
    network.fc = nn.Linear(64, classes)
    return network


class FixedProjection(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.width = width

    def forward(self, x):
        kernel = torch.eye(2 * self.width, self.width, dtype=x.dtype)[:, :, None, None]
        return nn.functional.conv2d(x, kernel, stride=2)


@pytest.mark.parametrize(("n", "channels", "side"), [(3, 3, 16), (3, 1, 28), (5, 2, 13)])
def test_outputs_equal_torchvisions(n, channels, side):
    network = shaken(CifarResNet(channels, 7, repetitions=n))
    other = copy_in_order(network, torchvisions(n, channels, 7))
    assert_same(network, other, torch.randn(3, channels, side, side, dtype=torch.float64))


# --- shortcuts ----------------------------------------------------------------


def test_padded_shortcut_keeps_every_second_pixel_and_adds_maps_of_zeros():
    x = torch.arange(1.0, 16.0).reshape(1, 1, 3, 5)
    assert PaddedShortcut(2, 2)(x).tolist() == [[[[1, 3, 5], [11, 13, 15]], [[0] * 3] * 2, [[0] * 3] * 2]]


def without_branch(unit):
    nn.init.zeros_(unit.norm2.weight)
    return unit.eval()


def test_a_unit_whose_branch_is_off_is_the_identity():
    x = torch.rand(2, 4, 5, 6)
    assert torch.equal(without_branch(Unit(4, 4, 1))(x), x)
    assert torch.equal(without_branch(Unit(4, 4, 1))(-x), torch.zeros_like(x))  # the last ReLU


def test_a_widening_unit_whose_branch_is_off_passes_every_second_pixel():
    x = torch.rand(2, 4, 5, 6)
    y = without_branch(Unit(4, 8, 2))(x)
    assert torch.equal(y[:, :4], x[:, :, ::2, ::2])
    assert not y[:, 4:].any()


@pytest.mark.parametrize("build", [resnet20, resnet110])
def test_shortcuts_have_no_parameters_and_only_two_of_them_change_sizes(build):
    shortcuts = [unit.shortcut for stage in on_meta(build).stages for unit in stage]
    assert sum(size(shortcut) for shortcut in shortcuts) == 0
    assert sum(isinstance(shortcut, PaddedShortcut) for shortcut in shortcuts) == 2


def test_with_all_branches_off_the_stages_only_thin_out_the_first_convolution():
    network = resnet20().eval()
    for stage in network.stages:
        for unit in stage:
            without_branch(unit)
    x = torch.randn(2, 3, 12, 12)
    stem = network.stem(x)
    passed = network.stages(stem)
    assert torch.equal(passed[:, :16], stem[:, :, ::4, ::4])
    assert passed.shape == (2, 64, 3, 3)
    assert not passed[:, 16:].any()


# --- start, gradients, refusals -----------------------------------------------


def test_convolutions_start_from_he_and_the_dense_layer_from_pytorch():
    torch.manual_seed(0)
    network = resnet20(filters=32)
    kernel = network.stages[2][1].conv1.weight  # 128 maps
    assert kernel.std().item() == pytest.approx((2 / (9 * 128)) ** 0.5, rel=0.01)
    assert kernel.abs().max() > 3.5 * kernel.std()  # normal, neither uniform nor cut off
    assert 0.9 * 128**-0.5 < network.head.weight.abs().max() <= 128**-0.5


@pytest.mark.parametrize("build", [row[0] for row in TABLE])
def test_the_gradient_reaches_every_parameter(build):
    assert without_gradient(build(), torch.randn(3, 3, 8, 8)) == []


@pytest.mark.parametrize("side", [1, 2, 7])
def test_takes_pictures_of_any_size(side):
    assert resnet20().eval()(torch.randn(2, 3, side, side + 1)).shape == (2, 10)


def test_other_tensors_are_refused():
    network = resnet20()
    with pytest.raises(ShapeError, match=r"expected \(B, 3, H, W\), got \(2, 1, 8, 8\)"):
        network(torch.zeros(2, 1, 8, 8))
    with pytest.raises(ShapeError, match=r"got \(3, 8, 8\)"):
        network(torch.zeros(3, 8, 8))
    with pytest.raises(ShapeError, match="at least 1, got 0x8"):
        network(torch.zeros(2, 3, 0, 8))


def test_no_filters_are_refused():
    with pytest.raises(UsageError, match="filters must be at least 1"):
        resnet20(filters=0)
